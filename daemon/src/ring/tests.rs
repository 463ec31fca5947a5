//! A ring against a list that forgets nothing: readers get every flow once, and each loss to the unit.

use proptest::prelude::*;
use prost::Message;
use weir_proto::flow::{Endpoint, LostEventSource};
use weir_proto::observer::{GetFlowsResponse, get_flows_response::ResponseTypes};

use super::*;

fn second(number: u64) -> UnixNanos {
    UnixNanos::from_parts(number, 0)
}

/// The flow of second `number`; the tests number flows by their seconds.
fn flow(number: u64) -> Flow {
    Flow { time: Some(timestamp_of(second(number))), node_name: "node-a".into(), ..Default::default() }
}

fn small(entries: usize) -> (Writer, Arc<Ring>) {
    ring(Limits { entries: NonZeroUsize::new(entries).unwrap(), bytes: usize::MAX })
}

fn filled(entries: usize, flows: u64) -> (Writer, Arc<Ring>) {
    let (mut writer, ring) = small(entries);
    for number in 1..=flows {
        assert_eq!(writer.next_seq(), Seq(number));
        assert_eq!(writer.push(flow(number)), Seq(number));
    }
    (writer, ring)
}

fn lost(source: LostEventSource, count: u64) -> LostEvent {
    LostEvent { source: source.into(), num_events_lost: count, ..Default::default() }
}

/// Everything a reader finds: numbers of flows, and counts of losses as negative numbers.
fn drain(reader: &mut Reader) -> Vec<i64> {
    let mut found = Vec::new();
    loop {
        match reader.read() {
            Read::End => return found,
            Read::Overrun(overrun) => {
                found.extend(overrun.losses().iter().map(|lost| -(lost.num_events_lost as i64)));
            }
            Read::Entry(entry) => found.push(match &entry.content {
                Content::Flow(_) => entry.seq().0 as i64,
                Content::Loss(lost) => -(lost.num_events_lost as i64),
            }),
        }
    }
}

#[test]
fn the_newest_flow_is_readable_at_once() {
    let (mut writer, ring) = small(4);
    let mut reader = ring.from_oldest();
    assert!(drain(&mut reader).is_empty());
    for number in 1..=10 {
        writer.push(flow(number));
        assert_eq!(drain(&mut reader), [number as i64]);
    }
}

#[test]
fn a_full_ring_forgets_its_oldest() {
    let (_writer, ring) = filled(4, 10);
    assert_eq!(drain(&mut ring.from_oldest()), [7, 8, 9, 10]);
    assert_eq!(drain(&mut ring.from_newest()), [10]);
    assert_eq!(ring.stats(), Stats { held: 4, capacity: 4, seen: Seq(10) });
}

#[test]
fn bytes_bound_it_too_and_the_newest_is_always_held() {
    let weight = Entry {
        position: Position(0),
        before: Mark::default(),
        content: Content::Flow(Box::new(Recorded::new(&flow(1)))),
    }
    .weight();
    let (mut writer, ring) = ring(Limits { entries: NonZeroUsize::new(100).unwrap(), bytes: 3 * weight });
    for number in 1..=10 {
        writer.push(flow(number));
    }
    assert_eq!(drain(&mut ring.from_oldest()), [8, 9, 10]);
    writer.push(Flow { node_name: "n".repeat(10 * weight), ..flow(11) });
    assert_eq!(drain(&mut ring.from_oldest()), [11]);
    assert_eq!(ring.stats().held, 1);
}

#[test]
fn an_overtaken_reader_is_told_how_many_and_when() {
    let (mut writer, ring) = filled(4, 2);
    let mut reader = ring.from_oldest();
    assert_eq!(drain(&mut reader), [1, 2]);
    for number in 3..=10 {
        writer.push(flow(number));
    }
    let Read::Overrun(overrun) = reader.read() else { panic!("no overrun") };
    assert_eq!(overrun.flows(), 4);
    let [told] = &overrun.losses()[..] else { panic!("one loss") };
    assert_eq!(told.source(), LostEventSource::HubbleRingBuffer);
    assert_eq!((told.first, told.last), (Some(timestamp_of(second(2))), Some(timestamp_of(second(6)))));
    assert_eq!(drain(&mut reader), [7, 8, 9, 10]);
}

#[test]
fn losses_of_the_capture_lie_between_flows_and_survive_an_overrun_as_a_sum() {
    let (mut writer, ring) = filled(3, 1);
    let mut reader = ring.from_oldest();
    writer.push_lost(lost(LostEventSource::PerfEventRingBuffer, 5));
    writer.push(flow(2));
    assert_eq!(drain(&mut reader), [1, -5, 2]);
    for number in 3..=8 {
        writer.push_lost(lost(LostEventSource::ObserverEventsQueue, 10));
        writer.push(flow(number));
    }
    // Held: flow 7, loss, flow 8. Missed: flows 3 to 6, and the five losses before flow 7.
    assert_eq!(drain(&mut reader), [-4, -50, 7, -10, 8]);
    assert_eq!(ring.stats().held, 2);
}

#[test]
fn a_reader_resumes_after_a_number() {
    let (mut writer, ring) = filled(4, 10);
    assert_eq!(drain(&mut ring.after(Seq(8))), [9, 10]);
    assert_eq!(drain(&mut ring.after(Seq(6))), [7, 8, 9, 10]);
    assert_eq!(drain(&mut ring.after(Seq(2))), [-4, 7, 8, 9, 10]);
    assert_eq!(drain(&mut ring.after(Seq(0))), [-6, 7, 8, 9, 10]);
    assert!(drain(&mut ring.after(Seq(10))).is_empty());
    writer.push_lost(lost(LostEventSource::PerfEventRingBuffer, 3));
    assert_eq!(drain(&mut ring.after(Seq(10))), [-3], "a loss after a flow comes after it");
}

proptest! {
    /// However pushes and reads alternate, what is read and what is told as missed add up to what was pushed.
    #[test]
    fn nothing_is_lost_untold(entries in 1_usize..8, steps in prop::collection::vec(0_u8..4, 1..200)) {
        let (mut writer, ring) = small(entries);
        let mut reader = ring.from_oldest();
        let (mut pushed, mut pushed_lost) = (0, 0);
        let (mut read, mut read_lost) = (0, 0);
        let mut take = |reader: &mut Reader, at_most: usize| {
            for _ in 0..at_most {
                match reader.read() {
                    Read::End => break,
                    Read::Entry(entry) => match &entry.content {
                        Content::Flow(_) => read += 1,
                        Content::Loss(lost) => read_lost += lost.num_events_lost,
                    },
                    Read::Overrun(overrun) => {
                        let all: u64 = overrun.losses().iter().map(|lost| lost.num_events_lost).sum();
                        read += overrun.flows();
                        read_lost += all - overrun.flows();
                    }
                }
            }
            (read, read_lost)
        };
        for step in steps {
            match step {
                0 => {
                    take(&mut reader, 2);
                }
                1 => {
                    pushed_lost += 3;
                    writer.push_lost(lost(LostEventSource::PerfEventRingBuffer, 3));
                }
                _ => pushed = writer.push(flow(pushed + 1)).0,
            }
            prop_assert!(drain(&mut ring.from_oldest()).len() <= entries);
        }
        prop_assert_eq!(take(&mut reader, usize::MAX), (pushed, pushed_lost));
        prop_assert_eq!(ring.stats().seen, Seq(pushed));
    }
}

#[test]
fn rewinding_ends_where_the_memory_ends() {
    let (_writer, ring) = filled(4, 10);
    let mut back = ring.rewind();
    let seen: Vec<_> = std::iter::from_fn(|| back.previous()).map(|entry| entry.seq().0).collect();
    assert_eq!(seen, [10, 9, 8, 7]);
    assert_eq!(drain(&mut back.reader()), [7, 8, 9, 10]);
    assert!(drain(&mut ring.rewind().reader()).is_empty());
}

#[test]
fn a_flow_and_its_envelope_are_one_response() {
    let (_writer, ring) = filled(4, 3);
    let Read::Entry(entry) = ring.from_newest().read() else { panic!("no entry") };
    let recorded = entry.flow().unwrap();
    let response = [&recorded.field[..], &recorded.envelope[..]].concat();
    let response = GetFlowsResponse::decode(&response[..]).unwrap();
    assert_eq!(response.response_types, Some(ResponseTypes::Flow(flow(3))));
    assert_eq!((response.node_name.as_str(), response.time), ("node-a", flow(3).time));
    assert_eq!(Flow::decode(recorded.encoded.clone()).unwrap(), flow(3));
}

#[test]
fn the_rate_is_over_a_minute_or_what_is_held() {
    let (_writer, ring) = filled(1000, 100);
    assert!((ring.rate(second(100)) - 61.0 / 60.0).abs() < 1e-9);
    assert!((ring.rate(second(130)) - 31.0 / 60.0).abs() < 1e-9);
    assert!(ring.rate(second(1000)).abs() < 1e-9);
    let (_writer, ring) = filled(10, 100);
    assert!((ring.rate(second(100)) - 10.0 / 9.0).abs() < 1e-9, "ten flows since second 91");
    assert!(small(1).1.rate(second(1)).abs() < 1e-9);
}

#[test]
fn namespaces_are_remembered_for_an_hour() {
    let in_namespace = |number, namespace: &str| Flow {
        source: Some(Endpoint { namespace: namespace.into(), ..Default::default() }),
        destination: Some(Endpoint::default()),
        ..flow(number)
    };
    let (mut writer, ring) = small(1);
    for (number, namespace) in [(0, "shop"), (10, "shop"), (100, "batch"), (3000, "shop"), (3800, "web")] {
        writer.push(in_namespace(number, namespace));
    }
    let names: Vec<_> = ring.namespaces().iter().map(|seen| (seen.namespace.to_string(), seen.at)).collect();
    assert_eq!(names, [("shop".to_string(), second(3000)), ("web".to_string(), second(3800))]);
}

#[test]
fn readers_account_for_every_flow_while_the_writer_runs() {
    const FLOWS: u64 = 100_000;
    let (mut writer, ring) = small(64);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let count = |ring: Arc<Ring>, mut reader: Reader| async move {
        let (mut read, mut missed, mut last) = (0, 0, 0);
        while last < FLOWS {
            match reader.read() {
                Read::Entry(entry) => {
                    assert_eq!(entry.seq().0, last + 1);
                    last += 1;
                    read += 1;
                }
                Read::Overrun(overrun) => {
                    missed += overrun.flows();
                    last += overrun.flows();
                }
                Read::End => ring.reached(reader.position()).await,
            }
        }
        (read, missed)
    };
    // Made before the first flow, or a busy machine lets the writer begin without them.
    let readers: Vec<_> =
        (0..3).map(|_| runtime.spawn(count(Arc::clone(&ring), ring.from_oldest()))).collect();
    let pipeline = std::thread::spawn(move || {
        for number in 1..=FLOWS {
            writer.push(flow(number));
        }
    });
    let all = async {
        for reader in readers {
            let (read, missed) = reader.await.unwrap();
            assert_eq!(read + missed, FLOWS);
            assert!(read > 0);
        }
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), all).await.unwrap() });
    pipeline.join().unwrap();
}
