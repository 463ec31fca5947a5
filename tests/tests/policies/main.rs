//! The evaluator of NetworkPolicies against a second one, and against the cases of Kubernetes' own suite.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod cases;
mod differential;
mod draw;
mod naive;
mod rules;
mod seed;
mod suite;
