//! Writes JSON values as block YAML, in the form that `kubectl get -o yaml` prints.

use serde_json::Value;

/// The document.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    write_block(&mut text, value, 0);
    text
}

fn write_block(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (at, (key, field)) in fields.iter().enumerate() {
                if at > 0 {
                    indent(text, depth);
                }
                text.push_str(&scalar(key));
                text.push(':');
                write_after_key(text, field, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    indent(text, depth);
                }
                text.push_str("- ");
                write_block(text, item, depth + 1);
            }
        }
        other => {
            text.push_str(&flat(other));
            text.push('\n');
        }
    }
}

/// A list stands under its key, a map one step in.
fn write_after_key(text: &mut String, field: &Value, depth: usize) {
    let inner = match field {
        Value::Object(fields) if !fields.is_empty() => depth + 1,
        Value::Array(items) if !items.is_empty() => depth,
        other => {
            text.push(' ');
            text.push_str(&flat(other));
            text.push('\n');
            return;
        }
    };
    text.push('\n');
    indent(text, inner);
    write_block(text, field, inner);
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(word) => scalar(word),
        // What is empty or no text is the same in JSON and in YAML.
        other => other.to_string(),
    }
}

/// Plain where no YAML reader could take it for something else, else quoted as JSON, which YAML reads alike.
fn scalar(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    let starts_well = word.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let lower = word.to_ascii_lowercase();
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&lower.as_str());
    if starts_well && word.chars().all(plain) && !reserved {
        word.to_owned()
    } else {
        Value::from(word).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_lists_and_ambiguous_scalars() {
        let value =
            json!({"a": [{"b": 1, "c": ["x", "no", "10.1.2.3"]}, {"d": {}}], "e": {"f": true, "g": "12"}});
        let expected =
            "a:\n- b: 1\n  c:\n  - x\n  - \"no\"\n  - \"10.1.2.3\"\n- d: {}\ne:\n  f: true\n  g: \"12\"\n";
        assert_eq!(document(&value), expected);
    }
}
