//! The eBPF source: counts connections in the kernel and takes up only the frames that carry news.
//!
//! Programs at every device (`daemon/ebpf/tcx.bpf.c`) pass up frames, which the same decoder reads, and tallies of the
//! packets between them. A packet is in one frame or in one tally, so both together are what a capture of every frame tells.
//! Programs decide nothing about packets, and nothing of them is left when the daemon ends, however it ends.

pub mod abi;
pub mod object;
