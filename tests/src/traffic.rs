//! A shop's trade that goes on while servers and workers come and go.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use loyalty_common::{Action, Command, Earn, Enroll, Spend};
use loyalty_producer::Producer;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

mod life;

pub use life::Life;

use crate::publish::{command, points};
use crate::world::World;
use loyalty_local::wait::PATIENCE;

/// Commands between two ticks of [`PACE`]: 2,000 a second. Enough that every fault meets hundreds under way, few
/// enough that the backlog of a fault is worked off within a second.
const AT_ONCE: usize = 20;

/// Members of a trade: so many that each says some dozens of things, since what a second opinion takes grows with their
/// square, and so few that each says enough for points to expire.
const MEMBERS: usize = 500;

/// See [`AT_ONCE`].
const PACE: Duration = Duration::from_millis(10);

/// An endless trade of so many members, all mixed: each enrols, and then does everything that members do. What comes of
/// it, [`SecondOpinion`] knows.
///
/// [`SecondOpinion`]: crate::SecondOpinion
pub fn traffic(members: usize) -> impl Iterator<Item = Command> + Send {
    let mut lives: Vec<Life> = (0..members).map(|member| Life::new(&format!("member-{member}"), member)).collect();
    (0..members).cycle().map(move |member| lives[member].next().expect("it has no end"))
}

/// An endless trade of members who earn and spend in turn, never more than there is.
pub fn purchases(members: usize) -> impl Iterator<Item = Command> + Send {
    let round = |number: i64| match number {
        0 => Action::Enroll(Enroll { email: None, name: None }),
        number if number % 3 == 0 => Action::Spend(Spend { points: points(number) }),
        number => Action::Earn(Earn { points: points(number + 1) }),
    };
    let all = (0..).flat_map(move |number| (0..members).map(move |member| (member, number)));
    all.map(move |(member, number)| command(&format!("member-{member}"), round(number)))
}

/// A trade under way.
#[derive(Debug)]
pub struct Traffic {
    sent: Arc<Mutex<Vec<Command>>>,
    confirmed: watch::Receiver<usize>,
    closing: CancellationToken,
    publishing: JoinHandle<()>,
}

impl World {
    /// Begins a trade in which every type of command is met.
    pub async fn start_traffic(&self) -> Traffic {
        self.start_trade(traffic(MEMBERS)).await
    }

    /// Begins this trade.
    pub async fn start_trade(&self, trade: impl Iterator<Item = Command> + Send + 'static) -> Traffic {
        self.start_paced(trade, PACE).await
    }

    /// The same, with another time between two ticks, for each of which it says 20 things.
    pub async fn start_paced(&self, trade: impl Iterator<Item = Command> + Send + 'static, pace: Duration) -> Traffic {
        let (sent, closing) = (Arc::default(), CancellationToken::new());
        let (count, confirmed) = watch::channel(0);
        let commands = paced(trade, pace, Arc::clone(&sent), closing.clone());
        let publishing = tokio::spawn(publish(self.producer().await.clone(), commands, count));
        Traffic { sent, confirmed, closing, publishing }
    }
}

impl Traffic {
    /// Waits until so many more commands are confirmed.
    pub async fn continues(&mut self, commands: usize) {
        let enough = *self.confirmed.borrow() + commands;
        let waiting = self.confirmed.wait_for(|confirmed| *confirmed >= enough);
        timeout(PATIENCE, waiting).await.expect("the broker confirms").expect("every command is confirmed");
    }

    /// Ends the trade, waits for the last confirm, and answers all commands in their order.
    pub async fn close(self, world: &World) -> Vec<Command> {
        self.closing.cancel();
        timeout(PATIENCE, self.publishing).await.expect("the last confirm").expect("every command is confirmed");
        let commands = std::mem::take(&mut *self.sent.lock().expect("nobody panics while holding it"));
        world.expect_outcomes_of(&commands);
        commands
    }
}

/// Publishes all, and counts what is confirmed. A command that is not confirmed ends it with a panic.
async fn publish(producer: Producer, commands: impl stream::Stream<Item = Command>, count: watch::Sender<usize>) {
    let mut all = std::pin::pin!(producer.publish_all(commands));
    while let Some(published) = all.next().await {
        published.result.expect("the broker takes a command");
        count.send_modify(|count| *count += 1);
    }
}

/// The commands at their pace, noted down, until the trade closes.
fn paced(
    commands: impl Iterator<Item = Command>,
    pace: Duration,
    sent: Arc<Mutex<Vec<Command>>>,
    closing: CancellationToken,
) -> impl stream::Stream<Item = Command> {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let next = move |(mut commands, mut ticks, number): (_, tokio::time::Interval, usize)| {
        let (sent, closing) = (Arc::clone(&sent), closing.clone());
        async move {
            if number.is_multiple_of(AT_ONCE) {
                closing.run_until_cancelled(ticks.tick()).await?;
            }
            let command: Command = Iterator::next(&mut commands)?;
            sent.lock().expect("nobody panics while holding it").push(command.clone());
            Some((command, (commands, ticks, number + 1)))
        }
    };
    stream::unfold((commands, ticks, 0), next)
}
