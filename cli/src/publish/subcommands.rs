//! The subcommands of `loyalty publish`: one for each type in the registry of commands, made of its fields.
//!
//! A field that must be there is an argument, one that may be left out a flag, and one that can be cleared has a second
//! flag for that. What is typed is read by the decoder, so that both refuse the same.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args as _, FromArgMatches, Subcommand};
use loyalty_common::command::{About, Doc, EnvelopeField, FieldInfo, Presence};
use loyalty_common::{Action, CommandType, MemberId, Scope};
use serde_json::Value;

use super::Details;

/// One command, as it was typed.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) member_id: MemberId,
    pub(super) action: Action,
    pub(super) details: Details,
}

const MEMBER: &str = "member";

impl Subcommand for Typed {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        command.subcommands(CommandType::ALL.iter().map(|it| subcommand(*it)))
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        CommandType::parse(name).is_some()
    }
}

fn subcommand(command_type: CommandType) -> clap::Command {
    let about = command_type.about();
    let member = Arg::new(MEMBER).value_name("MEMBER").required(true).value_parser(str::parse::<MemberId>);
    let args: Vec<Arg> = about.fields.iter().flat_map(args).collect();
    let mut command = clap::Command::new(command_type.as_str()).arg(member);
    if about.needs_a_field {
        command =
            command.group(ArgGroup::new("fields").args(args.iter().map(Arg::get_id)).required(true).multiple(true));
    }
    // Who does what only operators may, says why, also where the contract does not ask for it.
    let is_reason_needed = command_type.scope() == Scope::Operate || about.requires.contains(&EnvelopeField::Reason);
    let command = Details::augment_args(command.args(args)).mut_arg("reason", |arg| arg.required(is_reason_needed));
    // Last: the details bring a comment of their own.
    let command = command.about(without_stop(&about.doc.summary()));
    if about.doc.paragraphs().nth(1).is_some() { command.long_about(paragraphs(about.doc)) } else { command }
}

/// The arguments of a field.
fn args(field: &FieldInfo) -> Vec<Arg> {
    let parse = field.parse;
    let value = Arg::new(field.name).value_name(field.name.to_uppercase()).help(without_stop(&field.doc.summary()));
    let value = value.value_parser(move |text: &str| parse(text));
    let flag = field.name.replace('_', "-");
    match field.presence {
        // -50 is points, and no flag.
        Presence::Required => vec![value.required(true).allow_negative_numbers(true)],
        Presence::Optional => vec![value.long(flag)],
        Presence::Clearable => {
            let clear = Arg::new(clear_id(field)).long(format!("clear-{flag}")).action(ArgAction::SetTrue);
            let clear = clear.conflicts_with(field.name).help(format!("Erase the member's {}", field.name));
            vec![value.long(flag), clear]
        }
    }
}

fn clear_id(field: &FieldInfo) -> String {
    format!("clear_{}", field.name)
}

/// As clap's own derive does it: the first sentence stands in lists.
fn without_stop(sentence: &str) -> String {
    sentence.trim_end_matches('.').to_owned()
}

fn paragraphs(doc: Doc) -> String {
    let (first, others) = (without_stop(&doc.summary()), doc.paragraphs().skip(1));
    std::iter::once(first).chain(others).collect::<Vec<_>>().join("\n\n")
}

impl FromArgMatches for Typed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let named = matches.subcommand().and_then(|(name, matches)| Some((CommandType::parse(name)?, matches)));
        // clap asks for one of the subcommands, and for the member.
        let missing = || clap::Error::new(ErrorKind::MissingSubcommand);
        let (command_type, matches) = named.ok_or_else(missing)?;
        let fields = given(command_type.about(), matches);
        let action = Action::of_fields(command_type, fields)
            .map_err(|error| clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n")))?;
        let member_id = matches.get_one(MEMBER).cloned().ok_or_else(missing)?;
        Ok(Self { member_id, action, details: Details::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The fields that were typed, as they stand on the wire.
fn given(about: &About, matches: &ArgMatches) -> Vec<(String, Value)> {
    let value = |field: &FieldInfo| {
        let is_cleared = field.presence == Presence::Clearable && matches.get_flag(&clear_id(field));
        let value = if is_cleared { Some(Value::Null) } else { matches.get_one(field.name).cloned() };
        value.map(|value| (field.name.to_owned(), value))
    };
    about.fields.iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Result<Typed, clap::Error> {
        let command = Typed::augment_subcommands(clap::Command::new("publish").no_binary_name(true));
        Typed::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn every_type_of_command_has_a_subcommand_that_clap_takes() {
        let command = Typed::augment_subcommands(clap::Command::new("publish"));
        command.clone().debug_assert();
        for command_type in CommandType::ALL {
            let help = command.clone().find_subcommand_mut(command_type.as_str()).expect("one").render_help();
            let about = without_stop(&command_type.about().doc.summary());
            assert!(help.to_string().starts_with(&about) && help.to_string().contains("--command-id"), "{help}");
        }
    }

    #[test]
    fn what_is_typed_becomes_the_fields_of_the_command() {
        let wire = |words: &[&str]| serde_json::to_string(&typed(words).expect("a command").action).expect("JSON");
        assert_eq!(wire(&["earn", "ann", "50"]), r#"{"points":50}"#);
        assert_eq!(wire(&["enroll", "ann", "--name", "Ann"]), r#"{"name":"Ann"}"#);
        assert_eq!(wire(&["update", "ann", "--clear-email", "--name", "A"]), r#"{"email":null,"name":"A"}"#);
        let (id, at) = ("019a8f2e-6d1c-7c3a-9b1e-2f4c8a6d0e11", "2026-11-22T10:00:00Z");
        assert_eq!(wire(&["hold", "ann", "50", at]), format!(r#"{{"points":50,"expires_at":"{at}"}}"#));
        assert_eq!(wire(&["reverse", "ann", id]), format!(r#"{{"target":"{id}"}}"#));
        assert_eq!(wire(&["capture", "ann", id, "--points", "5"]), format!(r#"{{"target":"{id}","points":5}}"#));
        assert_eq!(wire(&["release", "ann", id]), format!(r#"{{"target":"{id}"}}"#));
        assert_eq!(wire(&["redeem", "ann", "2"]), r#"{"number":2}"#);
        let adjust = ["adjust", "ann", "-50", "--reason", "goodwill"];
        assert_eq!(wire(&adjust), r#"{"points":-50}"#);
        let counts = ["adjust", "ann", "50", "--counts", "true", "--reason", "opening balance"];
        assert_eq!(wire(&counts), r#"{"points":50,"counts":true}"#);
    }

    #[test]
    fn what_the_decoder_refuses_is_wrong_usage() {
        let check = |words: &[&str], part: &str| {
            let error = typed(words).map(|typed| typed.action).expect_err("wrong usage");
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        check(&["earn", "ann", "0"], "must be an integer from 1 to 1000000000000");
        check(&["earn", "ann"], "<POINTS>");
        check(&["enroll", "a b"], "printable ASCII");
        check(&["update", "ann"], "--clear-name");
        check(&["update", "ann", "--email", "a@b.de", "--clear-email"], "cannot be used with");
        check(&["terminate", "ann"], "--reason");
        check(&["adjust", "ann", "50"], "--reason");
        check(&["adjust", "ann", "-50", "--counts", "true", "--reason", "x"], "`counts` must not be true");
        check(&["earn", "ann", "-50"], "must be an integer from 1 to 1000000000000");
        check(&["hold", "ann", "50", "tomorrow"], "RFC 3339");
        check(&["redeem", "ann", "0"], "must be an integer from 1 to 1000000");
    }
}
