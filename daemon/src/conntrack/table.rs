//! How full the kernel's connection tracking table is, and what it had to refuse for that: /proc -> numbers -> a sentence.
//!
//! A full table is the fault that looks like everything else: new connections hang, old ones go on, and only the kernel's log
//! says why. Counts are of the reading thread's network namespace. The reader of files is handed in; all else is pure.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use weir_proto::weir::v1::ConntrackStatus;

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
/// A line of names, then a line of hexadecimal numbers for each processor (net/netfilter/nf_conntrack_standalone.c).
const STATISTICS: &str = "/proc/thread-self/net/stat/nf_conntrack";
/// What happened is told for so long.
const MEMORY: Duration = Duration::from_secs(60);

/// The table now; none where the kernel tracks no connections here. Without /proc/net/stat the counts stay 0.
pub fn read(file: impl Fn(&str) -> io::Result<String>) -> Option<ConntrackStatus> {
    let number = |path| file(path).ok()?.trim().parse().ok();
    let mut table =
        ConntrackStatus { entries: number(COUNT)?, max: number(MAX)?, ..ConntrackStatus::default() };
    if let Ok(statistics) = file(STATISTICS) {
        add(&mut table, &statistics);
    }
    Some(table)
}

/// Adds up what each processor counted. Columns are known by their names: there were others in other kernels.
fn add(table: &mut ConntrackStatus, statistics: &str) {
    let mut lines = statistics.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    for line in lines {
        for (name, number) in names.iter().zip(line.split_whitespace()) {
            let sum = match *name {
                "insert_failed" => &mut table.insert_failed,
                "drop" => &mut table.drop,
                "early_drop" => &mut table.early_drop,
                "invalid" => &mut table.invalid,
                _ => continue,
            };
            *sum += u64::from_str_radix(number, 16).unwrap_or(0);
        }
    }
}

/// What was seen of the table in the last minute.
#[derive(Debug, Default)]
pub struct Fullness {
    /// Oldest first: when, and what had been refused or removed for lack of room until then.
    seen: VecDeque<(Duration, u64)>,
}

impl Fullness {
    /// What is to be said of the table as it is `now`, a time that only grows; nothing where it has room.
    pub fn look(&mut self, now: Duration, table: &ConntrackStatus) -> Option<String> {
        let lacked = lacked(table);
        self.seen.push_back((now, lacked));
        // One that is just older than a minute says what there had been before it.
        while self.seen.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= MEMORY) {
            self.seen.pop_front();
        }
        let before = self.seen.front().map_or(lacked, |(_, before)| *before);
        let since = lacked.saturating_sub(before);
        let (entries, max) = (table.entries, table.max);
        let remedy = "raise net.netfilter.nf_conntrack_max";
        if since > 0 {
            return Some(format!(
                "the connection tracking table is full: {entries} of {max} entries; new connections are dropped or take the \
                 place of others, {since} in the last minute: {remedy}"
            ));
        }
        is_nearly_full(table).then(|| {
            format!(
                "the connection tracking table is nearly full: {entries} of {max} entries; once it is, new connections are \
                 dropped: {remedy}"
            )
        })
    }
}

/// Over 95 %.
const fn is_nearly_full(table: &ConntrackStatus) -> bool {
    table.max > 0 && (table.entries as u128) * 100 > (table.max as u128) * 95
}

/// An entry that could not be inserted is a drop too, and no lack of room.
const fn lacked(table: &ConntrackStatus) -> u64 {
    table.early_drop + table.drop.saturating_sub(table.insert_failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop \
                        icmp_error  expect_new expect_create expect_delete search_restart\n";

    fn absent() -> io::Error {
        io::ErrorKind::NotFound.into()
    }

    /// A table as these files say.
    fn table(count: &str, max: &str, statistics: Option<&str>) -> Option<ConntrackStatus> {
        read(|path| match path {
            COUNT if !count.is_empty() => Ok(count.to_owned()),
            MAX => Ok(max.to_owned()),
            STATISTICS => statistics.map(str::to_owned).ok_or_else(absent),
            _ => Err(absent()),
        })
    }

    #[test]
    fn every_processor_counts() {
        let statistics = format!(
            "{HEAD}0000000a  00000000 00000000 00000000 00000003 00000007 00000000 00000000 00000000 00000001 00000011 00000002 \
             00000000  00000000 00000000 00000000 00000000\n\
             0000000a  00000000 00000000 00000000 000000ff 00000007 00000000 00000000 00000000 00000000 00000001 0000000a \
             00000000  00000000 00000000 00000000 00000000\n"
        );
        let expected = ConntrackStatus {
            entries: 10,
            max: 262_144,
            insert_failed: 1,
            drop: 18,
            early_drop: 12,
            invalid: 258,
        };
        assert_eq!(table("10\n", "262144\n", Some(&statistics)), Some(expected));
    }

    #[test]
    fn columns_are_known_by_their_names() {
        let older = table("1", "2", Some("entries searched drop early_drop invalid\n1 2 3 4 5\n")).unwrap();
        assert_eq!((older.drop, older.early_drop, older.invalid, older.insert_failed), (3, 4, 5, 0));
        let short = table("1", "2", Some("entries drop\n1\n\n1 zz\n1 4\n")).unwrap();
        assert_eq!(short.drop, 4);
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_nothing() {
        assert_eq!(table("", "2", Some(HEAD)), None);
        assert_eq!(table("x", "2", None), None);
        let bare = ConntrackStatus { entries: 1, max: 2, ..ConntrackStatus::default() };
        assert_eq!(table("1", "2", None), Some(bare));
        assert_eq!(table("1", "2", Some("")), Some(bare));
    }

    fn at(seconds: u64, table: &ConntrackStatus, fullness: &mut Fullness) -> Option<String> {
        fullness.look(Duration::from_secs(seconds), table)
    }

    #[test]
    fn a_table_that_is_nearly_full_is_told_until_it_is_not() {
        let mut fullness = Fullness::default();
        let with = |entries| ConntrackStatus { entries, max: 1000, ..ConntrackStatus::default() };
        assert_eq!(at(0, &with(950), &mut fullness), None);
        let told = at(1, &with(951), &mut fullness).unwrap();
        assert!(
            told.starts_with("the connection tracking table is nearly full: 951 of 1000 entries"),
            "{told}"
        );
        assert_eq!(at(2, &with(950), &mut fullness), None);
        assert_eq!(at(3, &ConntrackStatus { entries: 9, ..ConntrackStatus::default() }, &mut fullness), None);
    }

    #[test]
    fn a_table_that_was_full_is_told_for_a_minute() {
        let mut fullness = Fullness::default();
        let lacked = |early_drop| ConntrackStatus {
            entries: 5,
            max: 1000,
            drop: 7,
            early_drop,
            ..ConntrackStatus::default()
        };
        // What was before the first look is of no known time.
        assert_eq!(at(0, &lacked(10), &mut fullness), None);
        assert_eq!(at(1, &lacked(10), &mut fullness), None);
        let told = at(2, &lacked(13), &mut fullness).unwrap();
        assert_eq!(
            told,
            "the connection tracking table is full: 5 of 1000 entries; new connections are dropped or take the place of \
             others, 3 in the last minute: raise net.netfilter.nf_conntrack_max"
        );
        for second in 3..=61 {
            assert!(at(second, &lacked(13), &mut fullness).is_some(), "{second}");
        }
        assert_eq!(at(62, &lacked(13), &mut fullness), None);
        assert!(fullness.seen.len() < 65);
        // A namespace that is another now counts from nothing.
        assert_eq!(at(63, &lacked(0), &mut fullness), None);
    }

    #[test]
    fn an_entry_that_another_came_before_is_no_lack_of_room() {
        let mut fullness = Fullness::default();
        let raced = |times| ConntrackStatus {
            max: 1000,
            drop: times,
            insert_failed: times,
            ..ConntrackStatus::default()
        };
        assert_eq!(at(0, &raced(0), &mut fullness), None);
        assert_eq!(at(1, &raced(50), &mut fullness), None);
    }
}
