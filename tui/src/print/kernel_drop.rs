//! A drop of the kernel's in words.

use std::fmt::Write as _;

use weir_proto::weir::v1::KernelDrop;

use super::style::escape;

/// `dropped by the kernel: NETFILTER_DROP at eth0 in the pod behind veth1a2b, 12 packets`; of the server's packets, `answer
/// dropped by the kernel: ...`; `refused by the kernel: NO_SOCKET at eth0`.
#[must_use]
pub fn kernel_drop(drop: &KernelDrop) -> String {
    let what = match (drop.loss, drop.reply) {
        (true, false) => "dropped",
        (true, true) => "answer dropped",
        (false, false) => "refused",
        (false, true) => "answer refused",
    };
    let mut said = format!("{what} by the kernel: {}", escape(&drop.reason));
    // Writing into a text cannot fail.
    if !drop.device.is_empty() {
        let _ = write!(said, " at {}", escape(&drop.device));
    }
    if !drop.pod_device.is_empty() {
        let _ = write!(said, " in the pod behind {}", escape(&drop.pod_device));
    }
    if drop.packets > 1 {
        let _ = write!(said, ", {} packets", drop.packets);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_which_way_where_and_how_many() {
        let rule = KernelDrop {
            reason: "NETFILTER_DROP".to_owned(),
            device: "eth0".to_owned(),
            packets: 1,
            loss: true,
            ..KernelDrop::default()
        };
        assert_eq!(kernel_drop(&rule), "dropped by the kernel: NETFILTER_DROP at eth0");
        let answer = KernelDrop { reply: true, pod_device: "veth1".to_owned(), packets: 12, ..rule.clone() };
        assert_eq!(
            kernel_drop(&answer),
            "answer dropped by the kernel: NETFILTER_DROP at eth0 in the pod behind veth1, 12 packets"
        );
        let closed =
            KernelDrop { reason: "NO_SOCKET".to_owned(), loss: false, device: String::new(), ..rule };
        assert_eq!(kernel_drop(&closed), "refused by the kernel: NO_SOCKET");
    }
}
