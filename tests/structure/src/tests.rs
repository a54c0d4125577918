//! Small crates with and without a circle.

use std::collections::BTreeMap;
use std::path::Path;

use crate::circles;
use crate::read;

/// The circles of a crate with these files, as they are printed.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    described(files, false)
}

fn described(files: &[(&str, &str)], tests: bool) -> Vec<String> {
    let files: BTreeMap<_, _> = files.iter().copied().collect();
    let texts = |file: &Path| files.get(file.to_str()?).map(|text| (*text).to_owned());
    let tree = read::read(Path::new("src/lib.rs"), tests, &texts).unwrap();
    let found = circles::find(&tree);
    found.iter().map(|circle| circle.describe("planted", &tree, Path::new("src"))).collect()
}

/// One circle, all of whose lines are these.
#[track_caller]
fn assert_circle(files: &[(&str, &str)], lines: &[&str]) {
    let circles = circles_of(files);
    let [circle] = circles.as_slice() else { panic!("{circles:#?}") };
    assert_eq!(circle.lines().skip(1).map(str::trim).collect::<Vec<_>>(), lines);
}

#[test]
fn two_files_that_use_each_other_are_a_circle() {
    assert_circle(
        &[
            ("src/lib.rs", "mod a;\nmod b;\n"),
            ("src/a.rs", "use crate::b::B;\n\npub struct A;\nfn f(_: B) {}\n"),
            ("src/b.rs", "\n\npub struct B(crate::a::A);\n"),
        ],
        &["a.rs -> b.rs -> a.rs", "a.rs:1 -> b.rs: B, crate::b::B", "b.rs:3 -> a.rs: crate::a::A"],
    );
}

#[test]
fn a_longer_way_round_is_one_circle() {
    assert_circle(
        &[
            ("src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
            ("src/a.rs", "use crate::{b::{self, B}, d};\npub fn a(_: B) { b::b(); d::d() }\n"),
            ("src/b.rs", "pub struct B;\npub fn b() { crate::c::c() }\n"),
            ("src/c.rs", "pub fn c() { super::a::a(todo!()) }\n"),
            ("src/d.rs", "pub fn d() {}\n"),
        ],
        &[
            "a.rs -> b.rs -> c.rs -> a.rs",
            "a.rs:1 -> b.rs: B, b::b, crate::b::B",
            "b.rs:2 -> c.rs: crate::c::c",
            "c.rs:1 -> a.rs: super::a::a",
        ],
    );
}

#[test]
fn a_circle_through_super_and_folders_is_found() {
    assert_circle(
        &[
            ("src/lib.rs", "mod room;\nmod door;"),
            ("src/room/mod.rs", "mod wall;\npub struct Room;"),
            ("src/room/wall.rs", "use super::super::door;\npub fn wall() { door::open() }"),
            ("src/door.rs", "pub fn open() { crate::room::wall::wall() }"),
        ],
        &[
            "room/wall.rs -> door.rs -> room/wall.rs",
            "room/wall.rs:2 -> door.rs: door::open",
            "door.rs:1 -> room/wall.rs: crate::room::wall::wall",
        ],
    );
}

#[test]
fn a_name_counts_for_the_file_that_defines_it() {
    let facade = "mod a;\nmod b;\npub use a::*;\npub use self::b::B as Renamed;";
    assert_circle(
        &[
            ("src/lib.rs", facade),
            ("src/a.rs", "use super::Renamed;\npub struct A;"),
            ("src/b.rs", "use crate::A;\npub struct B;"),
        ],
        &["a.rs -> b.rs -> a.rs", "a.rs:1 -> b.rs: super::Renamed", "b.rs:1 -> a.rs: crate::A"],
    );
}

#[test]
fn names_in_macros_attributes_and_globs_count() {
    for used in [
        "fn f() { println!(\"{}\", crate::b::B) }",
        "fn f() { assert!(matches!(1, super::b::ONE)) }",
        "#[serde(with = \"crate::b::words\")]\nstruct S;",
        "use crate::b::*;\nfn f() -> B { B }",
        "use crate::b::Kind::*;",
        "macro_rules! m { () => { $crate::b::B } }",
        "fn f() { use crate::b as other; other::made_by_a_macro() }",
        "fn f() { <u8 as crate::b::Trait>::g() }",
        "mod inside { use super::super::b::B; }",
    ] {
        let a = format!("pub struct A;\n{used}");
        let circles = circles_of(&[
            ("src/lib.rs", "mod a;\nmod b;"),
            ("src/a.rs", &a),
            ("src/b.rs", "use crate::a::A;\npub struct B;\npub enum Kind { One }\ntrait Trait {}"),
        ]);
        assert_eq!(circles.len(), 1, "{used}");
    }
}

#[test]
fn parents_and_children_form_no_circle() {
    let none = circles_of(&[
        ("src/lib.rs", "mod a;\npub use a::A;\npub struct Options;"),
        (
            "src/a.rs",
            "mod b;\nmod c;\nuse crate::Options;\npub struct A;\nfn f() { b::b(); c::c() }",
        ),
        ("src/a/b.rs", "use super::A;\npub fn b() { super::c::c() }"),
        ("src/a/c.rs", "use crate::{A, Options};\npub fn c() {}"),
    ]);
    assert_eq!(none, [""; 0]);
}

#[test]
fn declarations_facades_and_other_crates_form_no_circle() {
    let none = circles_of(&[
        ("src/lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;"),
        (
            "src/a.rs",
            "use crate::b;\nuse std::fmt;\nuse ::b::B;\npub struct A;\nfn f(b: u8) -> u8 { b }",
        ),
        ("src/b.rs", "use crate::A;\nuse jiff::*;\npub struct B(A, Span);\nfn f() { b::f() }"),
    ]);
    assert_eq!(none, [""; 0]);
}

#[test]
fn what_is_for_tests_is_left_out_unless_the_crate_is() {
    let files = [
        ("src/lib.rs", "mod a;\nmod b;\n#[cfg(all(test, unix))]\nmod missing;"),
        (
            "src/a.rs",
            "pub struct A;\n#[cfg(test)]\nuse crate::b::B;\n#[cfg(test)]\nmod tests { use crate::b::B; }\n\
             impl A { #[cfg(test)] fn of(_: crate::b::B) {} }\n#[cfg(any(test, unix))]\nfn f() {}",
        ),
        ("src/b.rs", "use crate::a::A;\npub struct B;"),
        ("src/missing.rs", ""),
    ];
    assert_eq!(described(&files, false), [""; 0]);
    assert_eq!(described(&files, true).len(), 1);
}

#[test]
fn modules_are_found_where_rustc_finds_them() {
    assert_circle(
        &[
            ("src/lib.rs", "mod a;\n#[path = \"elsewhere/c.rs\"]\nmod b;\nmod deep { mod d; }"),
            ("src/a/mod.rs", "use crate::b::B;\npub struct A;"),
            ("src/elsewhere/c.rs", "use crate::deep::d::D;\npub struct B;"),
            ("src/deep/d.rs", "use crate::a::A;\npub struct D;"),
        ],
        &[
            "a/mod.rs -> elsewhere/c.rs -> deep/d.rs -> a/mod.rs",
            "a/mod.rs:1 -> elsewhere/c.rs: crate::b::B",
            "elsewhere/c.rs:1 -> deep/d.rs: crate::deep::d::D",
            "deep/d.rs:1 -> a/mod.rs: crate::a::A",
        ],
    );
}

#[test]
fn a_file_that_is_missing_is_an_error() {
    let texts = |file: &Path| (file == Path::new("src/lib.rs")).then(|| "mod gone;".to_owned());
    let error = read::read(Path::new("src/lib.rs"), false, &texts).unwrap_err();
    assert_eq!(error.to_string(), "no file of module src/gone");
}
