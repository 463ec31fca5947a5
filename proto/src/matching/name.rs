//! Patterns of names, as Hubble's filters have them: of DNS names, and of what has a namespace.

use super::Malformed;

/// The namespace that a name without one is looked for in, as kubectl does.
const DEFAULT_NAMESPACE: &str = "default";

/// A pattern of a DNS name: `*` stands for any run of `-`, `.`, digits and lower-case letters, as in Hubble; it does not
/// reach over an underscore. The whole name must match.
pub(crate) struct Glob {
    /// Lower case, without the dot at the end.
    pattern: Vec<u8>,
}

impl Glob {
    /// Matches every name that a `*` can stand for.
    pub(crate) fn any() -> Self {
        Self { pattern: b"*".to_vec() }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let shown = text.trim_start();
        let indent = text.chars().count() - shown.chars().count();
        let name = shown.trim_end();
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name.is_empty() {
            return Err(Malformed::Empty);
        }
        if name.ends_with('.') {
            return Err(Malformed::TrailingDots(text.to_owned()));
        }
        let wrong = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.' | '*');
        if let Some((at, character)) = name.chars().enumerate().find(|(_, c)| wrong(c)) {
            return Err(Malformed::NameCharacter {
                pattern: text.to_owned(),
                character,
                position: indent + at,
            });
        }
        Ok(Self { pattern: name.into_bytes() })
    }

    /// Steps through pattern and name together; at a mismatch the latest `*` takes one byte more. No earlier `*` need be
    /// tried: what stopped the latest, a byte that no `*` takes, would stop an earlier one too.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (name, pattern) = (name.as_bytes(), self.pattern.as_slice());
        let (mut at, mut of) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match pattern.get(of) {
                Some(b'*') => {
                    star = Some((of, at));
                    of += 1;
                }
                Some(byte) if *byte == name[at] => {
                    at += 1;
                    of += 1;
                }
                _ => {
                    let Some((star_at, taken)) = star else { return false };
                    if !matches!(name[taken], b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z') {
                        return false;
                    }
                    star = Some((star_at, taken + 1));
                    at = taken + 1;
                    of = star_at + 1;
                }
            }
        }
        pattern[of..].iter().all(|byte| *byte == b'*')
    }
}

/// `namespace/prefix`: the exact namespace, and the beginning of the name.
pub(crate) struct NamespacedPrefix {
    /// Empty: any.
    namespace: String,
    prefix: String,
}

impl NamespacedPrefix {
    /// `ns/` is a whole namespace, `/pfx` any namespace, `pfx` the default one. What follows a second slash is ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Err(Malformed::Empty);
        }
        let (namespace, rest) = text.split_once('/').unwrap_or((DEFAULT_NAMESPACE, text));
        let prefix = rest.split_once('/').map_or(rest, |(prefix, _)| prefix);
        Ok(Self { namespace: namespace.to_owned(), prefix: prefix.to_owned() })
    }

    /// An end without any name is never meant.
    pub(crate) fn matches(&self, namespace: &str, name: &str) -> bool {
        let named = !(namespace.is_empty() && name.is_empty());
        let in_namespace = self.namespace.is_empty() || self.namespace == namespace;
        named && in_namespace && name.starts_with(&self.prefix)
    }
}
