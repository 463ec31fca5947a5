//! DNS over TCP of many connections: what has begun is kept within one budget, and nothing of it outlives its connection.

use proptest::prelude::*;

use super::*;

const SERVER: &str = "10.244.2.7:53";
const BUDGET: usize = 64 << 10;

/// A question for `.` with so many bytes behind it, and its length in front.
fn message(id: u16, padding: usize) -> Vec<u8> {
    let header = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]].concat();
    let length = u16::try_from(header.len() + padding).unwrap();
    [&length.to_be_bytes()[..], &header, &vec![0; padding]].concat()
}

fn client(number: u32) -> String {
    format!("10.244.1.{}:{}", number % 250 + 1, 20_000 + number)
}

impl World {
    fn bounded() -> Self {
        Self::with(Settings { rest_from: 0, max_begun_bytes: BUDGET, ..Settings::default() })
    }

    fn says(&mut self, client: &str, flags: u16, sequence: u32, payload: &[u8]) {
        let tcp = Tcp {
            sequence,
            acknowledgement: 1,
            flags: TcpFlags(flags),
            payload,
            payload_len: u32::try_from(payload.len()).unwrap(),
            ..SEGMENT
        };
        self.seen(VETH, Direction::Inbound, tuple(client, SERVER), Transport::Tcp(tcp));
    }

    fn messages(&self) -> usize {
        self.told.iter().filter(|told| told.reason == Reason::Message).count()
    }

    fn truncated(&self) -> usize {
        let slots = self.tracker.connections.glances().map(|(slot, _)| slot);
        slots.filter(|slot| self.tracker.connections.get(*slot).unwrap().gaps.truncated).count()
    }
}

#[test]
fn what_has_begun_is_bounded_over_all_connections() {
    let (connections, cut) = (1000, 1000);
    let kept = BUDGET / cut;
    let mut world = World::bounded();
    for number in 0..connections {
        world.says(&client(number), SYN, 99, &[]);
        world.says(&client(number), ACK, 100, &message(1, 3000)[..cut]);
        assert!(world.tracker.begun.used() <= BUDGET);
    }
    let dropped = connections as usize - kept;
    assert_eq!(world.tracker.begun.used(), kept * cut);
    assert_eq!(world.tracker.stats().messages_dropped, dropped as u64);
    assert_eq!(world.truncated(), dropped, "each says so");
    // Their ends come. Those that were kept are read and make room; the others' next messages are read again.
    for number in 0..connections {
        let (first, second) = (message(1, 3000), message(2, 0));
        world.says(&client(number), ACK, 100 + cut as u32, &first[cut..]);
        world.says(&client(number), ACK, 100 + first.len() as u32, &second);
    }
    world.wait(60_000_000);
    assert_eq!(world.tracker.begun.used(), 0);
    assert_eq!(world.messages(), kept + connections as usize);
}

#[test]
fn nothing_is_kept_of_a_connection_that_is_over() {
    let begin = |world: &mut World, number: u32| {
        world.says(&client(number), SYN, 99, &[]);
        world.says(&client(number), ACK, 100, &message(1, 500)[..100]);
    };
    let mut world = World::bounded();
    (0..10).for_each(|number| begin(&mut world, number));
    assert_eq!(world.tracker.begun.used(), 1000);
    for number in 0..5 {
        world.says(&client(number), RST_ACK, 200, &[]);
    }
    world.wait(SECOND);
    assert_eq!(world.tracker.begun.used(), 500, "an end was told of each");
    world.wait(3 * 3600 * SECOND);
    assert_eq!(world.tracker.begun.used(), 0, "all were idle for too long");

    let mut full = World::with(Settings { max_connections: 3, ..Settings::default() });
    (0..10).for_each(|number| begin(&mut full, number));
    assert_eq!((full.tracker.len(), full.tracker.begun.used()), (3, 300), "the others had to go");
    full.feed(Tracker::finish);
    assert_eq!(full.tracker.begun.used(), 0);
}

#[test]
fn of_two_connections_that_are_one_only_one_keeps_what_both_saw() {
    let (called, behind) = (tuple(CLIENT, "10.96.0.10:53"), tuple(CLIENT, SERVER));
    let mut world = World::bounded();
    let begun = &message(1, 500)[..100];
    for (device, direction, tuple) in
        [(VETH, Direction::Inbound, called), (FLANNEL, Direction::Outbound, behind)]
    {
        let tcp = Tcp {
            sequence: 100,
            acknowledgement: 1,
            flags: TcpFlags(ACK),
            payload: begun,
            payload_len: 100,
            ..SEGMENT
        };
        world.seen(device, direction, tuple, Transport::Tcp(tcp));
    }
    let apart = world.tracker.len();
    world.conntrack(called, behind.reversed());
    assert_eq!(world.tracker.len(), 1, "of {apart}");
    assert_eq!(world.tracker.begun.used(), 100);
}

proptest! {
    /// However segments are cut, repeated, lost and mixed: never more than the budget, and nothing is left in the end.
    #[test]
    fn the_budget_holds_whatever_comes(
        steps in prop::collection::vec((0..20_u32, 0..4_u32, 1..2000_usize, 0..3000_u16), 0..200),
    ) {
        let bounds = Settings { max_begun_bytes: 4000, max_connections: 8, ..Settings::default() };
        let mut world = World::with(bounds);
        for (number, kind, cut, length) in steps {
            let whole = [&length.to_be_bytes()[..], &vec![0; 2000]].concat();
            let flags = [ACK, ACK, FIN_ACK, RST_ACK][kind as usize];
            world.says(&client(number), flags, kind * 700, &whole[..cut]);
            prop_assert!(world.tracker.begun.used() <= 4000);
        }
        world.feed(Tracker::finish);
        prop_assert_eq!(world.tracker.begun.used(), 0);
    }
}
