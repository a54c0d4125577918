//! Text from elsewhere on its way to a terminal. A job's title, its output or
//! a message must not move the cursor, rewrite lines, or reverse the order of
//! what is read.

use std::borrow::Cow;

/// The text on one line, with every character that acts on a terminal or
/// cannot be seen written as an escape.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().any(acts) { Cow::Owned(escape(text, acts)) } else { Cow::Borrowed(text) }
}

/// A line of captured output: tabs stay.
pub(crate) fn output_line(text: &str) -> Cow<'_, str> {
    let acts = |c: char| c != '\t' && acts(c);
    if text.chars().any(acts) { Cow::Owned(escape(text, acts)) } else { Cow::Borrowed(text) }
}

/// JSON text in which nothing acts on a terminal. JSON itself lets DEL, C1
/// controls and bidirectional marks stand; all of them occur within strings
/// only, where an escape means the same.
pub(crate) fn safe_json(json: &str) -> Cow<'_, str> {
    let bare = |c: char| c != '\n' && acts(c);
    if !json.chars().any(bare) {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if bare(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn escape(text: &str, acts: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' if acts(c) => safe.push_str("\\n"),
            '\r' if acts(c) => safe.push_str("\\r"),
            '\t' if acts(c) => safe.push_str("\\t"),
            c if acts(c) && u32::from(c) < 0x100 => {
                safe.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if acts(c) => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

/// Control characters (C0, DEL, C1), line separators, and marks that are
/// invisible or turn the reading direction.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_gets_through() {
        assert_eq!(one_line("\x1b[2Jgone"), "\\x1b[2Jgone");
        assert_eq!(one_line("a\nb\tc\rd"), "a\\nb\\tc\\rd");
        assert_eq!(one_line("\u{9b}31m\u{7f}"), "\\x9b31m\\x7f");
        assert_eq!(one_line("abc\u{202e}fdp.exe"), "abc\\u{202e}fdp.exe");
        assert!(matches!(one_line("Modell größer 模型 🚀"), Cow::Borrowed(_)));
        for code in 0..=0x10ffff {
            let Some(c) = char::from_u32(code) else { continue };
            let shown = one_line(&c.to_string()).into_owned();
            assert!(shown.chars().all(|c| !c.is_control()), "U+{code:04X}");
        }
    }

    #[test]
    fn output_keeps_its_tabs() {
        assert_eq!(output_line("loss\t0.5\x07"), "loss\t0.5\\x07");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "title": "a\u{1b}[0m\u{9b}\u{202e}\u{e0041}z" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let safe = safe_json(&text);
        assert!(!safe.chars().any(|c| c != '\n' && acts(c)));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
