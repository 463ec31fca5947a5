//! The evaluator of NetworkPolicies against a second one, and against the cases of Kubernetes' own suite.

mod differential;
mod draw;
mod naive;
mod rules;
mod seed;
