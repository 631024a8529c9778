//! The product against the model: random programmes and histories, the product's cut into batches of any size, and in
//! the end every verdict, every row of the ledger and all that a member has must be the same. The product must also
//! find that its own rows follow from each other.
//!
//! Each run draws other histories, [`HISTORIES`] of them; `./run compare` a million, and says how fast.

mod book;
mod of_model;
mod of_product;
mod product;
mod wire;

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use loyalty_ledger::{Programme, refold};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRunner};

use crate::model::{Model, Said, Verdict};
use crate::strategy::{History, MEMBERS, Step, histories};
use book::{Book, Standing};
use product::Product;

/// As many as take some seconds. Of rules that were taken out on trial, each was missed after 1,100 at the latest.
const HISTORIES: u32 = 10_000;

/// In scenes. Many short histories find more in the same time than few long ones.
const LENGTH: usize = 16;

#[test]
fn the_product_and_the_model_agree() {
    let (config, began) = (config(), Instant::now());
    let cases = f64::from(config.cases);
    let drawn = (histories(LENGTH), prop::collection::vec(1_usize..10, 1..6));
    if let Err(error) = TestRunner::new(config).run(&drawn, |(history, sizes)| agree(&history, &sizes)) {
        panic!("{error}");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{cases} histories in {seconds:.1} s, {:.0} a second: no difference", cases / seconds);
}

fn agree(history: &History, sizes: &[usize]) -> Result<(), TestCaseError> {
    let mut both = Both::of(history);
    let (mut rest, mut sizes) = (history.steps.as_slice(), sizes.iter().cycle());
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(batch_length(rest, *sizes.next().expect("a cycle does not end")));
        both.take(batch)?;
        rest = later;
    }
    MEMBERS.iter().try_for_each(|member| both.agree_on(member))
}

fn config() -> ProptestConfig {
    let asked_for = ProptestConfig::default();
    // The default one takes most of the time if it is compiled without optimisation.
    let rng_algorithm = RngAlgorithm::XorShift;
    let cases = asked_for.cases.max(HISTORIES);
    ProptestConfig { cases, rng_algorithm, source_file: Some(file!()), ..asked_for }
}

/// Commands are folded together that one programme decides. A sweep stands alone.
fn batch_length(steps: &[Step], size: usize) -> usize {
    let programme = |step: &Step| match step {
        Step::Said { programme, .. } => Some(*programme),
        Step::Sweep { .. } => None,
    };
    let first = programme(&steps[0]);
    let is_of_batch = |step: &&Step| first.is_some() && programme(step) == first;
    steps.iter().take(size).take_while(is_of_batch).count().max(1)
}

struct Both<'a> {
    history: &'a History,
    /// The history's programmes, as the product has them: numbered from 1.
    programmes: BTreeMap<i16, Programme>,
    /// The one of the last batch.
    programme: Programme,
    /// The database's clock, which is never set back here: one for all commands of a batch.
    now: Timestamp,
    model: Model,
    product: Product,
}

impl<'a> Both<'a> {
    fn of(history: &'a History) -> Self {
        let programmes: BTreeMap<i16, Programme> = (1..)
            .zip(&history.programmes)
            .map(|(number, programme)| (number, wire::programme(number, programme)))
            .collect();
        let programme = programmes[&1].clone();
        let (model, product) = (Model::default(), Product::default());
        Self { history, programmes, programme, now: Timestamp::UNIX_EPOCH, model, product }
    }

    fn take(&mut self, batch: &[Step]) -> Result<(), TestCaseError> {
        if let [Step::Sweep { member, until }] = batch {
            self.model.sweep(member, *until);
            self.product.sweep(member, *until, &self.programme);
            return Ok(());
        }
        let mut said = Vec::new();
        for step in batch {
            let Step::Said { programme, now, said: one } = step else { unreachable!("a sweep stands alone") };
            self.programme = self.programmes.values().nth(*programme).expect("one of the history's").clone();
            self.now = self.now.max(*now);
            said.push((*programme, one));
        }
        let of_model: Vec<(Verdict, i64)> = said.iter().map(|(programme, said)| self.say(*programme, said)).collect();
        let commands: Vec<_> = said.iter().map(|(_, said)| wire::command(said)).collect();
        let of_product = self.product.deliver(&commands, self.now, &self.programme);
        prop_assert_eq!(of_product, of_model, "verdicts of the product, and of the model");
        Ok(())
    }

    /// The model's verdict, and the balance after it.
    fn say(&mut self, programme: usize, said: &Said) -> (Verdict, i64) {
        let verdict = self.model.say(&self.history.programmes[programme], self.now, said);
        (verdict, self.model.rows(&said.member).last().map_or(0, |row| row.balance_after))
    }

    fn agree_on(&self, member: &str) -> Result<(), TestCaseError> {
        let (of_product, of_model) = (Book::of_product(&self.product, member), Book::of_model(&self.model, member));
        for (product, model) in of_product.lines.iter().zip(&of_model.lines) {
            prop_assert_eq!(product, model, "a row of the product, and of the model");
        }
        prop_assert_eq!(of_product, of_model);
        let stored = self.product.account(&wire::member(member));
        let refolded = refold(self.product.rows(&wire::member(member)), &self.programmes, &stored.state);
        prop_assert_eq!(refolded.differences, []);
        prop_assert_eq!(Standing::of_product(&refolded.account), Standing::of_product(&stored));
        Ok(())
    }
}
