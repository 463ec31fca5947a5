//! `weir`: the person's side. What is typed -> what is asked -> what is shown.
//!
//! `client` reaches a server. The command line: `observe` and `policy` read what was typed, `print` makes the lines. The screen: `keys`
//! says what a key does, `model` what follows from it and from what the server tells, `view` draws it, `screen` is the loop
//! between them. Only `app` wires them.

pub mod app;
pub mod client;
pub mod keys;
pub mod model;
pub mod observe;
pub mod policy;
pub mod print;
pub mod screen;
pub mod shell;
pub mod view;
