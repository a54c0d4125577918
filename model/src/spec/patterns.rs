//! The grammars of text fields as regular expressions that every dialect of JSON Schema
//! reads alike: no look-around, no named classes. The parser's own checks are
//! authoritative; a test compares the two.

use std::collections::BTreeSet;

use crate::gpu::{MIG_ACCELERATORS, mig_spellings};

/// No control characters other than line feed and tab.
pub(super) const NO_CONTROL_BUT_LINES: &str = r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$";

/// What hides or reorders other text, except the tag characters beyond U+FFFF, which
/// dialects write in different ways.
const DECEPTIVE: &str = concat!(
    r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f",
    r"\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
);
const SPACE: &str = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000";

/// A folder or file that is not `.` or `..`.
const SEGMENT: &str = r"([A-Za-z0-9_-]|\.[A-Za-z0-9_-]|\.\.[A-Za-z0-9._-])[A-Za-z0-9._-]*";

/// One line of text for people, which may be empty.
pub(crate) fn printable() -> String {
    format!("^[^{DECEPTIVE}]*$")
}

/// The same, but not only spaces.
pub(super) fn readable() -> String {
    format!("^[^{DECEPTIVE}]*[^{DECEPTIVE}{SPACE}][^{DECEPTIVE}]*$")
}

/// 3 to 200 characters, not counting spaces at the ends.
pub(super) fn reason() -> String {
    let end = format!("[^{DECEPTIVE}{SPACE}]");
    format!("^[{SPACE}]*{end}[^{DECEPTIVE}]{{1,198}}{end}[{SPACE}]*$")
}

/// A DNS label that does not look like an id.
pub(super) fn name() -> String {
    let ends = "([a-z0-9-]*[a-z0-9])?";
    format!("^([a-ik-z0-9]{ends}|j|j[0-9]*[a-z]{ends}|j[0-9]*-[a-z0-9-]*[a-z0-9])$")
}

/// The id of a job.
pub(super) const ID: &str = "^j[1-9][0-9]{0,18}$";

/// The name of a job, or its id.
pub(super) const NAME_OR_ID: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";

pub(super) const MODEL: &str = "^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$";

pub(super) const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

pub(crate) const TAG: &str = "^[A-Za-z0-9._/-]+$";

/// What the first word of the command must have.
pub(super) fn program() -> String {
    let control = r"\u0009-\u000d\u0085\u2028\u2029";
    format!(r"^[^\u0000]*[^\u0000{control}{SPACE}][^\u0000]*$")
}

/// `text` in upper and lower case.
fn any_case(text: &str) -> String {
    let both = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false if c == '.' => r"\.".to_owned(),
        false => c.to_string(),
    };
    text.chars().map(both).collect()
}

fn one_of<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    texts.into_iter().map(any_case).collect::<Vec<_>>().join("|")
}

/// Variables that are reserved for spotwise or change how programs are loaded.
pub(super) fn reserved(prefixes: &[&str], names: &[&str]) -> String {
    let (prefixes, names) = (one_of(prefixes.iter().copied()), one_of(names.iter().copied()));
    format!("^({prefixes}|({names})$)")
}

/// AWS variables with one of these in their name.
pub(super) fn credentials(parts: &[&str]) -> String {
    format!("^{}.*({})", any_case("AWS_"), one_of(parts.iter().copied()))
}

pub(super) fn ends_in_file() -> String {
    format!("{}$", any_case("_FILE"))
}

/// References to what belongs to the worker: its AWS variables, reserved ones, and kernel
/// folders.
pub(super) fn barred_secret(prefixes: &[&str], names: &[&str]) -> String {
    let prefixes = one_of(prefixes.iter().copied().chain(["AWS_"]));
    let names = one_of(names.iter().copied());
    format!("^(env:({prefixes}|({names})$)|file:/(proc|sys|dev)(/|$))")
}

/// `env:NAME` or `file:/path`.
pub(super) fn secret() -> String {
    format!("^(env:[A-Za-z_][A-Za-z0-9_]{{0,127}}|file:(/{SEGMENT})+)$")
}

/// Tags whose prefix is reserved.
pub(super) fn reserved_tag() -> String {
    format!("^([^/]*({})|{})/", one_of(["kubernetes.io", "k8s.io"]), any_case("spotwise"))
}

/// Well-known credentials in plain text.
pub(super) const CREDENTIAL: &str = concat!(
    "gh[po]_|github_pat_|xox[bp]-|glpat-|(AKIA|ASIA)[A-Z0-9]{12}",
    "|-----BEGIN ((DSA|EC|ENCRYPTED|OPENSSH|PGP|RSA) )?PRIVATE KEY"
);

/// Below the working folder.
pub(super) fn relative() -> String {
    format!("^{SEGMENT}(/{SEGMENT})*$")
}

/// Below the working folder, or absolute.
pub(super) fn workdir() -> String {
    format!("^/?{SEGMENT}(/{SEGMENT})*$")
}

/// A local path or an object of S3.
pub(super) fn source() -> String {
    let outside = r"/:%\\\u0000-\u001f\u007f-\u009f";
    let any = format!("[^{outside}]");
    let rest = format!(r"|\.[^.{outside}]|\.\.{any}){any}*");
    let (segment, first) = (format!("([^.{outside}]{rest}"), format!("([^.~{outside}-]{rest}"));
    let local = format!(r"\./?|(\./|/){segment}(/{segment})*/?|{first}(/{segment})*/?");
    let more = r"\.?[a-z0-9-]";
    let bucket = format!(r"[a-z0-9](\.[a-z0-9-]({more})*\.?|[a-z0-9-]({more})+\.?|[a-z0-9-]\.)");
    let part = SEGMENT.replace('_', "_=");
    format!("^({local}|s3://{bucket}/{part}(/{part})*/?)$")
}

/// A container image, as the OCI distribution specification writes it.
pub(super) fn image() -> String {
    let part = r"[a-z0-9]((\.?[a-z0-9_-])*\.?[a-z0-9])?";
    let label = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?";
    let host = format!(r"{label}(\.{label})*(:0*{})?", from_1_to(65_535));
    format!(
        "^(({host}|{part})/({part}/)*)?{part}(:[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}})?\
         (@sha256:[0-9a-f]{{64}})?$"
    )
}

/// A region, not one of its zones.
pub(crate) const REGION: &str = "^([a-z0-9-]*([0-9-]|[a-z-][a-z])|[a-z])$";

pub(super) const ACCELERATOR: &str = "^[A-Za-z][A-Za-z0-9-]*$";

/// GPUs such as `V100:2`, `V100`, `:2` or `2`, up to `most`.
pub(super) fn gpus(most: u64) -> String {
    let count = format!("0*{}", from_1_to(most));
    format!("^([A-Za-z][A-Za-z0-9-]{{0,39}}(:{count})?|:?{count})$")
}

/// A slice of a GPU, by its name on it.
pub(super) fn mig() -> String {
    let on = |gpu: &&str| {
        let names = mig_spellings(Some(gpu));
        format!("{}:({})", any_case(gpu), one_of_exactly(&names))
    };
    let on: Vec<String> = MIG_ACCELERATORS.iter().map(on).collect();
    format!("^({}|{})$", on.join("|"), one_of_exactly(&mig_spellings(None)))
}

fn one_of_exactly(texts: &BTreeSet<&str>) -> String {
    let texts: Vec<&str> = texts.iter().copied().collect();
    texts.join("|").replace('.', r"\.")
}

/// Whole numbers from 0 to `most`, with no more digits than it has.
pub(super) fn up_to(most: u64) -> String {
    format!("({}|0{{1,{}}})", padded(most, "[0-9]"), most.to_string().len())
}

/// Whole numbers from 1 to `most`, without leading zeros.
pub(super) fn from_1_to(most: u64) -> String {
    format!("({})", padded(most, "[1-9]"))
}

/// The ways to write a number up to `most`; shorter ones begin with `first`.
fn padded(most: u64, first: &str) -> String {
    let digits = most.to_string();
    let mut ways = Vec::new();
    if digits.len() > 1 {
        ways.push(format!("{first}[0-9]{{0,{}}}", digits.len() - 2));
    }
    for (place, digit) in digits.bytes().enumerate() {
        let least = if place == 0 { b'1' } else { b'0' };
        if least < digit {
            let (same, left) = digits.split_at(place);
            let next = char::from(digit - 1);
            let rest = format!("[0-9]{{{}}}", left.len() - 1);
            ways.push(format!("{same}[{}-{next}]{rest}", char::from(least)));
        }
    }
    ways.push(digits);
    ways.join("|")
}

/// A number above 0 and up to `most`, with at most `places` digits after the point.
pub(crate) fn decimal(most: u64, places: usize) -> String {
    let small = |zeros: usize| {
        let left = places - zeros - 1;
        format!("0{{{zeros}}}[1-9][0-9]{{0,{left}}}")
    };
    let small = (0..places).map(small).collect::<Vec<_>>().join("|");
    // 12 digits before the point are read.
    let zeros = 12usize.saturating_sub(most.to_string().len());
    let large = from_1_to(most.saturating_sub(1));
    format!(
        r"(0{{1,12}}\.({small})0*|0{{0,{zeros}}}{large}(\.[0-9]{{1,{places}}}0*)?|0{{0,{zeros}}}{most}(\.0+)?)"
    )
}

/// A size with its unit: the maximum for each.
pub(super) fn size(most: &[(&str, u64)]) -> String {
    let of = |(unit, most): &(&str, u64)| format!("{} *{unit}", decimal(*most, 3));
    format!("^({})$", most.iter().map(of).collect::<Vec<_>>().join("|"))
}

/// A duration of at most `seconds` in each of its units, above zero in one.
pub(crate) fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let most = |unit: u64| seconds / unit;
    let any = |(unit, length): (&str, u64)| match most(length) {
        0 => format!("(0{{1,9}}{unit})?"),
        most => {
            let zeros = 9usize.saturating_sub(most.to_string().len());
            format!("(0{{0,{zeros}}}{}{unit})?", up_to(most))
        }
    };
    let first = |place: usize| -> Option<String> {
        let (unit, length) = *units.get(place)?;
        if most(length) == 0 {
            return None;
        }
        let zeros = units.iter().take(place).map(|(unit, _)| format!("(0{{1,9}}{unit})?"));
        let this = format!("0{{0,8}}{}{unit}", from_1_to(most(length)));
        let rest = units.iter().skip(place + 1).map(|unit| any(*unit));
        Some(zeros.chain([this]).chain(rest).collect())
    };
    format!("({})", (0..units.len()).filter_map(first).collect::<Vec<_>>().join("|"))
}

/// A time as RFC 3339 writes it, from 2020 to 2099.
pub(super) fn time() -> String {
    let days = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)\
                |02-(0[1-9]|1[0-9]|2[0-8]))";
    let leap_days = "20([2468][048]|[3579][26])-02-29";
    let of_day = "([01][0-9]|2[0-3]):[0-5][0-9]";
    format!(
        r"(20[2-9][0-9]-{days}|{leap_days})T{of_day}:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-]{of_day})"
    )
}
