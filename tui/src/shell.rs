//! What a shell and its manual take from the command line's definition: completion scripts and man pages.
//!
//! Both are made from the one `clap` definition when they are asked for, so that they can't fall behind it. Nothing is
//! installed: they are printed, and where they go is the packager's or the user's choice.

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// The name that the pages and scripts are for.
const NAME: &str = "weir";

/// `completions` and `man`. The second takes the names of the other commands.
pub fn commands(others: &[&'static str]) -> [Command; 2] {
    let shell = Arg::new("shell")
        .required(true)
        .value_parser(clap::value_parser!(Shell))
        .value_name("SHELL")
        .help("The shell that will read it");
    let page = Arg::new("command")
        .value_parser(PossibleValuesParser::new(others))
        .value_name("COMMAND")
        .help("The page of one command; without it the page of weir itself");
    [
        Command::new("completions")
            .about("Prints the completions of a shell")
            .after_help("weir completions bash > /etc/bash_completion.d/weir")
            .arg(shell),
        Command::new("man")
            .about("Prints the manual page, for man -l")
            .after_help("weir man | man -l -\nweir man observe > /usr/local/share/man/man1/weir-observe.1")
            .arg(page),
    ]
}

/// Prints the completions of the shell that was named.
///
/// # Errors
/// When standard output can't be written.
pub fn completions(mut whole: Command, given: &ArgMatches, out: &mut impl Write) -> io::Result<()> {
    let Some(shell) = given.get_one::<Shell>("shell").copied() else { return Ok(()) };
    // The generator of scripts panics at a pipe that its reader closed; memory has no reader.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut whole, NAME, &mut script);
    out.write_all(&script)
}

/// Prints the manual page that was asked for.
///
/// # Errors
/// When standard output can't be written.
pub fn man(mut whole: Command, given: &ArgMatches, out: &mut impl Write) -> io::Result<()> {
    whole.build();
    let named = given.get_one::<String>("command");
    let below = |command, name: &str| Command::find_subcommand(command, name);
    let Some(command) = named.and_then(|name| name.split('-').try_fold(&whole, below)) else {
        Man::new(whole).render(out)?;
        return query_section(out);
    };
    Man::new(command.clone()).render(out)
}

/// The filter language, which the screen and `observe` take alike.
fn query_section(out: &mut impl Write) -> io::Result<()> {
    let mut section = Roff::new();
    section.control("SH", ["FILTER LANGUAGE"]).control("nf", []);
    for line in weir_proto::query::help().lines() {
        section.text([roman(line)]);
    }
    section.control("fi", []).to_writer(out)
}
