//! What a flow is and how to ask for flows: Hubble's wire, number for number, and weir's own beside it.
//!
//! The `.proto` files are the specification; the modules here are their committed bindings, kept current by a test.

#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated; the .proto files are the documentation"
)]
mod generated {
    pub mod flow {
        include!("generated/flow.rs");
    }
    pub mod observer {
        include!("generated/observer.rs");
    }
    pub mod peer {
        include!("generated/peer.rs");
    }
    pub mod relay {
        include!("generated/relay.rs");
    }
    pub mod weir {
        pub mod v1 {
            include!("generated/weir.v1.rs");
        }
    }
}

#[cfg(test)]
mod drawn;
pub mod filter;
pub mod json;
pub mod mask;
pub mod matching;
pub mod place;
pub mod query;
#[cfg(feature = "settings")]
pub mod settings;
pub mod time;
pub mod wire;

pub use generated::{flow, observer, peer, relay, weir};

/// All `.proto` files as a serialised `google.protobuf.FileDescriptorSet`, for reflection and for JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
