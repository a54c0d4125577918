use super::*;

/// 16 bytes of the beginning; of the end 16 in pieces of 2.
const BOUNDS: Bounds = Bounds::of(32);

fn bench() -> (tempfile::TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::at(folder.path().join("logs/j1.1-0.log"));
    (folder, spool)
}

fn writer(spool: &Spool) -> Writer {
    Writer::open(spool.clone(), BOUNDS).unwrap()
}

/// The whole, with `[n]` for n bytes that are missing.
fn whole(spool: &Spool, most: usize) -> String {
    let (mut text, mut at) = (String::new(), 0);
    loop {
        match spool.read(at, most).unwrap() {
            Found::Data(data) => {
                assert!(data.len() <= most);
                at += data.len() as u64;
                text.push_str(std::str::from_utf8(&data).unwrap());
            }
            Found::Missing { to } => {
                text.push_str(&format!("[{}]", to - at));
                at = to;
            }
            Found::End => return text,
        }
    }
}

fn letters(count: usize) -> String {
    ('a'..='z').cycle().take(count).collect()
}

#[test]
fn the_beginning_and_the_end_are_kept_and_nothing_is_guessed() {
    for total in [0, 1, 15, 16, 17, 31, 32, 33, 34, 35, 60, 1_000] {
        for step in [1, 3, 16, 1_000] {
            let (_folder, spool) = bench();
            let mut writer = writer(&spool);
            let text = letters(total);
            text.as_bytes().chunks(step).for_each(|part| writer.append(part).unwrap());
            assert_eq!(writer.end(), total as u64);
            assert_eq!(spool.end().unwrap(), total as u64);
            for most in [1, 7, 1_000] {
                let kept = whole(&spool, most);
                if total <= 32 {
                    assert_eq!(kept, text, "{total} in steps of {step}");
                    continue;
                }
                let (head, rest) = kept.split_once('[').unwrap_or((&kept, "0]"));
                let (missing, tail) = rest.split_once(']').unwrap();
                let missing: usize = missing.parse().unwrap();
                assert!(text.starts_with(head) && text.ends_with(tail), "{kept}");
                assert_eq!(head.len() + missing + tail.len(), total, "{kept}");
                assert!((16..=18).contains(&tail.len()) || missing == 0, "{kept}");
            }
        }
    }
}

#[test]
fn a_writer_goes_on_where_one_has_died() {
    let (_folder, spool) = bench();
    let text = letters(100);
    for part in text.as_bytes().chunks(7) {
        writer(&spool).append(part).unwrap();
    }
    assert_eq!(whole(&spool, 9), "abcdefghijklmnop[68]ghijklmnopqrstuv");
    assert_eq!(spool.read(5, 3).unwrap(), Found::Data(b"fgh".to_vec()));
    assert_eq!(spool.read(20, 3).unwrap(), Found::Missing { to: 84 });
    assert_eq!(spool.read(99, 3).unwrap(), Found::Data(b"v".to_vec()));
    assert_eq!(spool.read(100, 3).unwrap(), Found::End);
    assert_eq!(spool.read(u64::MAX, 3).unwrap(), Found::End);
}

#[test]
fn what_is_skipped_is_a_gap() {
    let (_folder, spool) = bench();
    let mut writer = writer(&spool);
    writer.append(b"one\n").unwrap();
    writer.skip_to(2);
    writer.append(b"two\n").unwrap();
    writer.skip_to(20);
    writer.append(b"three\n").unwrap();
    assert_eq!(writer.end(), 26);
    assert_eq!(whole(&spool, 100), "one\ntwo\n[12]three\n");
    let from = |lines| spool.last_lines(lines).unwrap();
    assert_eq!([1, 2, 3, 4].map(from), [20, 4, 0, 0]);
}

#[test]
fn the_last_lines_are_found_over_pieces() {
    let (_folder, spool) = bench();
    assert_eq!(spool.last_lines(3).unwrap(), 0);
    let mut writer = writer(&spool);
    writer.append(b"one\ntwo\nthree\nfo").unwrap();
    writer.append(b"u\nfive\nsi").unwrap();
    for (lines, begin) in [(1, 23), (2, 18), (3, 14), (4, 8), (5, 4), (6, 0), (9, 0)] {
        assert_eq!(spool.last_lines(lines).unwrap(), begin, "{lines}");
    }
    writer.append(b"x\n").unwrap();
    assert_eq!(spool.last_lines(1).unwrap(), 23, "a line's end begins no line");
    let (_folder, long) = bench();
    let mut writer = Writer::open(long.clone(), Bounds::of(0)).unwrap();
    writer.append(b"one\n").unwrap();
    writer.append(&vec![b'x'; 200_000]).unwrap();
    assert_eq!(long.last_lines(1).unwrap(), 4);
}

#[test]
fn a_disk_without_room_leaves_a_gap() {
    let (_folder, spool) = bench();
    let mut writer = writer(&spool);
    writer.append(letters(16).as_bytes()).unwrap();
    let tail = spool.tail();
    fs::write(&tail, "in the way").unwrap();
    assert!(writer.append(b"lost").is_err());
    assert_eq!(writer.end(), 16);
    fs::remove_file(&tail).unwrap();
    writer.skip_to(20);
    writer.append(b"kept").unwrap();
    assert_eq!(whole(&spool, 100), "abcdefghijklmnop[4]kept");
}
