//! The time of a pass, with one stage more each: what a stage costs is the difference.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use weir_daemon::capture::Input;
use weir_daemon::decode;
use weir_daemon::pipeline::{Output, Pipeline};
use weir_daemon::ring::{Limits, ring};
use weir_daemon::track::{Settings, Tracker};
use weir_tests::results::Figure;

use crate::input::Recorded;

/// How far a pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Frames to packets.
    Decode,
    /// And packets to events.
    Track,
    /// And events to flows: the pipeline itself.
    Enrich,
    /// And flows into the ring, encoded.
    Ring,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Decode, Self::Track, Self::Enrich, Self::Ring];

    /// The median time of a packet.
    pub fn measured(self, recorded: &Recorded, passes: usize) -> Figure {
        let mut times: Vec<Duration> = (0..passes.max(1)).map(|_| self.pass(recorded)).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let (name, what) = match self {
            Self::Decode => ("decode_ns", "decode, a packet"),
            Self::Track => ("decode_track_ns", "decode and track, a packet"),
            Self::Enrich => ("decode_track_enrich_ns", "decode, track and enrich, a packet"),
            Self::Ring => ("decode_track_enrich_ring_ns", "the same, and the flows encoded into the ring"),
        };
        Figure::new(name, median.as_nanos() as f64 / recorded.frames() as f64, "ns", what)
    }

    fn pass(self, recorded: &Recorded) -> Duration {
        match self {
            Self::Decode => decode_alone(recorded),
            Self::Track => {
                let mut tracker = Tracker::new(Settings::default());
                let begun = Instant::now();
                recorded.each(|taken| {
                    taken.give(&mut tracker, &mut |event| {
                        black_box(event);
                    });
                });
                begun.elapsed()
            }
            Self::Enrich => pipeline(recorded, &mut |output| {
                black_box(output);
            }),
            Self::Ring => {
                let entries = NonZeroUsize::MIN.saturating_add(65_535);
                let (mut writer, _ring) = ring(Limits { entries, bytes: 128 << 20 });
                pipeline(recorded, &mut |output| {
                    if let Output::Flow(flow) = output {
                        writer.push(flow);
                    }
                })
            }
        }
    }
}

/// All stages, and the packets a second of what the pipeline is.
pub fn figures(recorded: &Recorded, passes: usize) -> Vec<Figure> {
    let measured: Vec<Figure> = Stage::ALL.map(|stage| stage.measured(recorded, passes)).into();
    let pipeline = measured.iter().find(|figure| figure.name == "decode_track_enrich_ns");
    let rate = pipeline.map_or(0.0, |figure| 1e9 / figure.value);
    let what = "decode, track and enrich on one core";
    let mut figures = vec![Figure::new("packets_per_second", rate.round(), "packets/s", what)];
    figures.extend(measured);
    figures
}

fn decode_alone(recorded: &Recorded) -> Duration {
    let settings = decode::Settings::default();
    let begun = Instant::now();
    for input in &recorded.inputs {
        if let Input::Frames(batch) = input {
            for frame in batch.frames() {
                let _ = black_box(decode::decode(&frame, &settings));
            }
        }
    }
    begun.elapsed()
}

fn pipeline(recorded: &Recorded, out: &mut dyn FnMut(Output<'_>)) -> Duration {
    let tracker = Tracker::new(Settings::default());
    let mut pipeline = Pipeline::new(decode::Settings::default(), tracker, recorded.enricher());
    let begun = Instant::now();
    for input in &recorded.inputs {
        pipeline.take(input, &recorded.cluster, out);
    }
    begun.elapsed()
}
