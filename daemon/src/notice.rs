//! What a running part has to say to people: whole sentences, each said once, in the order it happened.
//!
//! Not for what happens per packet: that is counted. What is remembered is bounded: when it is full the oldest sentence is
//! forgotten, since the newest is about what is wrong now.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

const CAPACITY: usize = 64;

#[derive(Debug, Default)]
struct Said {
    /// Oldest first.
    sentences: VecDeque<String>,
    /// How many of the newest nobody has taken.
    waiting: usize,
}

/// The last sentences, shared between the one who says them and the one who shows them.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<Mutex<Said>>);

impl Notices {
    /// Says a sentence, unless it is among the last 64.
    pub fn say(&self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.sentences.contains(&sentence) {
            return;
        }
        if said.sentences.len() == CAPACITY {
            said.sentences.pop_front();
        }
        said.sentences.push_back(sentence);
        said.waiting = (said.waiting + 1).min(CAPACITY);
    }

    /// Takes what was said since this was last called.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = said.sentences.len() - said.waiting;
        said.waiting = 0;
        said.sentences.iter().skip(taken).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_none_is_said_twice() {
        let notices = Notices::default();
        notices.say("again");
        assert_eq!(notices.take(), ["again"]);
        notices.say("again");
        assert_eq!(notices.take(), [""; 0]);
        for number in 0..100 {
            notices.say(number.to_string());
        }
        let kept = notices.take();
        assert_eq!((kept.len(), kept[0].as_str(), kept[63].as_str()), (64, "36", "99"));
        notices.say("new");
        assert_eq!(notices.take(), ["new"]);
    }
}
