//! The readers of packets and of the kernel's testimony against a real kernel, in network namespaces made for each test.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by a panic, and says when it was skipped"
)]

#[cfg(feature = "ebpf")]
mod attached;
mod capture;
mod conntrack;
#[cfg(feature = "ebpf")]
mod drops;
#[cfg(feature = "ebpf")]
mod ebpf;
mod namespace;
mod nflog;
#[cfg(feature = "ebpf")]
mod passed;
mod permission;
#[cfg(feature = "ebpf")]
mod programs;
#[cfg(feature = "ebpf")]
mod sources;
