use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::id::{InstanceType, PoolName, Region, Zone};
use crate::money::Price;
use crate::pool::SupplyShown;
use crate::spec::schema_tests::{accepts, seen};

const EXAMPLE: &str = include_str!("../../../examples/operator/pools.yaml");

fn good(text: &str) -> PoolsFile {
    PoolsFile::parse(text, "pools.yaml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn bad(text: &str) -> PoolsFileErrors {
    let shown: String = text.chars().take(400).collect();
    let errors = PoolsFile::parse(text, "pools.yaml").expect_err(&shown);
    assert!(!errors.errors.is_empty(), "{shown}");
    errors
}

/// A good file with a pool `east`, and `fields` in it.
fn east(fields: &str) -> String {
    format!(
        "version: 1\naccounts: [{{name: a}}]\npools:\n- name: east\n  kind: simulated\n  \
         account: a\n  region: us-east-1\n{}",
        fields.lines().map(|line| format!("  {line}\n")).collect::<String>()
    )
}

/// What the schema says of a text; `None` if it is no YAML.
fn schema_takes(text: &str) -> Option<bool> {
    thread_local!(static SCHEMA: serde_json::Value = json_schema());
    let tree = tree(text).ok()?;
    Some(SCHEMA.with(|schema| accepts(schema, schema, &seen(&tree))))
}

#[track_caller]
fn only(text: &str, code: &str, field: &str) -> SpecError {
    let errors = bad(text);
    let [error] = errors.errors.as_slice() else { panic!("{text}\n{errors}") };
    assert_eq!((error.code, error.field.as_str()), (code, field), "{text}\n{errors}");
    error.clone()
}

#[test]
fn the_example_says_what_its_remarks_say() {
    let file = good(EXAMPLE);
    assert_eq!(schema_takes(EXAMPLE), Some(true));
    assert_eq!((file.set.version, file.set.pools.len(), file.set.quotas.len()), (1, 3, 3));
    let pool = file.set.get(&PoolName::new("east-training")).unwrap();
    assert_eq!(pool.account, Account::new("123456789012"));
    assert_eq!(pool.sells.region, Some(Region::new("us-east-1")));
    let types = ["g5.12xlarge", "p3."].map(InstanceType::new);
    assert_eq!(pool.sells.types, BTreeSet::from(types));
    assert_eq!(pool.limits.price_per_hour, Some(Price::from_micros_per_hour(60_000_000)));
    assert_eq!((pool.limits.machines, pool.limits.gpus), (Some(8), Some(32)));
    assert!(pool.access.tags["Team"].contains("speech"));
    assert!(!pool.features.instant && !pool.features.reclaims_by_market);

    let small = file.set.get(&PoolName::new("east-small")).unwrap();
    assert_eq!(small.times, pool.times, "the times of the example are the defaults");
    assert_eq!(small.features, pool.features, "and its features");
    assert_eq!(small.sells.zones, BTreeSet::from(["us-east-1a", "us-east-1c"].map(Zone::new)));

    let cloud = &file.clouds[&Account::new("123456789012")];
    assert_eq!(cloud.never_registers, Chance::from_millionths(5_000));
    assert_eq!(cloud.answers.least, Duration::from_millis(100));
    assert_eq!((cloud.seed, cloud.foreign_vcpus), (7, 8));
    assert_eq!(cloud.terminate.least, cloud.terminate.most);
}

#[test]
fn a_small_file_is_enough() {
    let file = good("version: 1\npools: [{name: here, kind: local}]");
    let pool = file.set.get(&PoolName::new("here")).unwrap();
    assert_eq!(
        (pool.kind, &pool.account, pool.limits.host),
        (PoolKind::Local, &Account::local(), None)
    );
    assert!(pool.features.instant && file.clouds.is_empty());
    let host = HostLimits { cpu_milli: 8_000, memory_mib: 32_000, gpus: Some(2) };
    let file = file.with_host(host);
    assert_eq!(file.set.get(&PoolName::new("here")).unwrap().limits.host, Some(host));

    let file = good(&east("")).with_host(host);
    let pool = file.set.get(&PoolName::new("east")).unwrap();
    assert_eq!((pool.limits.host, pool.times.boot), (None, Duration::from_secs(90)));
    assert_eq!(file.clouds, BTreeMap::from([(Account::new("a"), CloudOptions::default())]));
    assert_eq!(good(&format!("\u{feff}{}", east(""))), good(&east("")));
}

/// The descriptions say what the defaults are; each, written out, changes nothing.
#[test]
fn defaults_are_as_described() {
    let usual = good(&east(""));
    let schema = json_schema();
    let mut checked = 0;
    for (definition, place) in [("Times", "times"), ("Features", "features")] {
        for (field, about) in schema["$defs"][definition]["properties"].as_object().unwrap() {
            let about = about["description"].as_str().unwrap();
            let default =
                about.split("Default: ").nth(1).unwrap().split([';', ' ']).next().unwrap();
            let text = east(&format!("{place}: {{{field}: {}}}", default.trim_end_matches('.')));
            assert_eq!(good(&text), usual, "{field}");
            checked += 1;
        }
    }
    for (field, about) in schema["$defs"]["SimulatedCloud"]["properties"].as_object().unwrap() {
        let about = about["description"].as_str().unwrap();
        let default = about.split("Default: ").nth(1).unwrap().strip_suffix('.').unwrap();
        let simulated = format!("accounts: [{{name: a, simulated: {{{field}: {default}}}}}]");
        let text = east("").replace("accounts: [{name: a}]", &simulated);
        assert_eq!(good(&text), usual, "{field}");
        checked += 1;
    }
    assert_eq!(checked, 8 + 4 + 14);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "version: 1\naccounts:\n- {name: a, qoutas: []}\npools:\n- name: East\n  kind: \
                simulated\n  account: a\n  region: us-east-1\n  zones: [us-east-1a, eu-west-2a, \
                eu-west-2b]\n  limits: {machines: 0, dollars_per_hour: .nan, gpus: -1}\n\
                - {name: b, kind: localy}\n- {kind: local, times: {boot: 5m, keep: 1e9h}}\n";
    let told: Vec<String> = bad(text)
        .errors
        .iter()
        .map(|error| format!("{} {} {}", error.location.unwrap().0, error.field, error.code))
        .collect();
    let expected = [
        "3 accounts[0].qoutas unknown_field",
        "5 pools[0].name invalid_name",
        "9 pools[0].zones[1] zone_of_another_region",
        "9 pools[0].zones[2] zone_of_another_region",
        "10 pools[0].limits.machines out_of_range",
        "10 pools[0].limits.dollars_per_hour invalid_money",
        "10 pools[0].limits.gpus out_of_range",
        "11 pools[1].kind unknown_value",
        "12 pools[2].name missing_field",
        "12 pools[2].times.boot not_of_this_kind",
        "12 pools[2].times.keep invalid_duration",
        "12 pools[2].times.keep not_of_this_kind",
    ];
    assert_eq!(told, expected);
    let text = bad(text).to_string();
    assert!(text.contains("pools.yaml:3:13: accounts[0].qoutas: no such field; did you mean `quotas`? [unknown_field]"), "{text}");
    assert!(text.contains("did you mean `local`?"), "{text}");
}

#[test]
fn what_several_entries_show_together() {
    let twice = east("") + "- {name: east, kind: local}\n";
    only(&twice, "duplicate_name", "pools[1].name");
    let same = east("") + "- {name: b, kind: simulated, account: a, region: us-east-1}\n";
    only(&same, "duplicate_pool", "pools[1]");
    good(&same.replace("name: b,", "name: b, types: [g5.],"));
    for kind in ["local", "external"] {
        let two =
            format!("version: 1\npools: [{{name: a, kind: {kind}}}, {{name: b, kind: {kind}}}]");
        only(&two, "second_of_its_kind", "pools[1].kind");
    }
    only(&twice.replace("version: 1", "version: 2"), "out_of_range", "version");
    let account = |accounts: &str| east("").replace("[{name: a}]", accounts);
    only(&account("[{name: a}, {name: b}]"), "unused_account", "accounts[1].name");
    only(&account("[{name: a}, {name: a}]"), "duplicate_name", "accounts[1].name");
    let error = only(
        &east("")
            .replace("  account: a", "  account: ab")
            .replace("{name: a}", "{name: ac}, {name: ab}"),
        "unused_account",
        "accounts[0].name",
    );
    assert!(error.message.contains("`ac`"), "{error}");
    let unknown = bad(&east("").replace("  account: a", "  account: team"));
    assert_eq!(unknown.errors[1].code, "unknown_account", "{unknown}");

    let quota = |fields: &str| account(&format!("[{{name: a, quotas: [{fields}]}}]"));
    let one = "{region: us-east-1, family: G and VT, types: [g5.], capacity: spot, vcpus: 0}";
    good(&quota(one));
    only(&quota(&format!("{one}, {one}")), "duplicate_quota", "accounts[0].quotas[1]");
    let error =
        only(&quota(&one.replace("-1", "-2")), "unused_quota", "accounts[0].quotas[0].region");
    assert!(error.message.contains("did you mean `us-east-1`?"), "{error}");
}

#[test]
fn what_is_left_is_counted_unless_an_account_says_otherwise() {
    let supply = |text: &str| good(text).set.get(&PoolName::new("east")).unwrap().supply;
    assert_eq!(supply(&east("")), SupplyShown::Counted);
    assert_eq!(good(&east("supply: counted")), good(&east("")), "as described");
    assert_eq!(supply(&east("supply: unknown")), SupplyShown::Unknown);
    only(
        "version: 1\npools: [{name: a, kind: local, supply: unknown}]",
        "not_of_this_kind",
        "pools[0].supply",
    );
    let other = "- {name: b, kind: simulated, account: a, region: us-east-1, types: [g5.]}\n";
    let error = only(&(east("supply: unknown") + other), "supply_differs", "pools[1].supply");
    assert!(error.message.contains("`east`"), "{error}");
    good(&(east("supply: unknown") + &other.replace("types", "supply: unknown, types")));
    let market = |account: &str, zone: &str, capacity_type| crate::MarketKey {
        account: Account::new(account),
        ..crate::MarketKey::recorded(Zone::new(zone), InstanceType::new("g5.xlarge"), capacity_type)
    };
    use crate::CapacityType::{OnDemand, Spot};
    let set = good(&east("supply: unknown")).set;
    assert!(set.is_unknown(&market("a", "us-east-1a", Spot)));
    assert!(!set.is_unknown(&market("a", "us-east-1a", OnDemand)), "that is granted");
    assert!(!set.is_unknown(&market("b", "us-east-1a", Spot)), "of another account");
    assert!(!set.is_unknown(&market("a", "us-west-2a", Spot)), "nobody buys there");
    assert!(!good(&east("")).set.is_unknown(&market("a", "us-east-1a", Spot)));
}

#[test]
fn values_that_are_refused() {
    for (fields, code, field) in [
        ("zones: []", "empty_list", "zones"),
        ("zones: us-east-1a", "invalid_type", "zones"),
        ("zones: [us-east-1a, us-east-1a]", "duplicate_value", "zones[1]"),
        ("zones: [use1-az1]", "zone_of_another_region", "zones[0]"),
        ("zones:", "empty_value", "zones"),
        ("types: [G5.XLARGE]", "invalid_type_name", "types[0]"),
        ("types: [[g5.]]", "invalid_type", "types[0]"),
        ("types: {a: b}", "invalid_type", "types"),
        ("supply: seen", "unknown_value", "supply"),
        ("capacity: [on_demand]", "unknown_value", "capacity[0]"),
        ("limits: []", "invalid_type", "limits"),
        ("limits: {machines: 1.5}", "invalid_number", "limits.machines"),
        ("limits: {machines: 99999999999999999999999}", "out_of_range", "limits.machines"),
        ("limits: {dollars_per_hour: 0}", "out_of_range", "limits.dollars_per_hour"),
        ("limits: {dollars_per_hour: -1}", "invalid_money", "limits.dollars_per_hour"),
        ("limits: {dollars_per_hour: .inf}", "invalid_money", "limits.dollars_per_hour"),
        ("limits: {dollars_per_hour: 1e308}", "invalid_money", "limits.dollars_per_hour"),
        ("times: {boot: -5m}", "invalid_duration", "times.boot"),
        ("times: {boot: 5}", "invalid_duration", "times.boot"),
        ("times: {boot: 2d}", "out_of_range", "times.boot"),
        ("times: {start_timeout: 0s}", "out_of_range", "times.start_timeout"),
        ("times: {boot: 15m}", "timeout_too_short", "times.registration_timeout"),
        ("times: {launch_timeout: 10s}", "timeout_too_short", "times.launch_timeout"),
        ("features: {mig: yes}", "invalid_boolean", "features.mig"),
        ("features: {notice: 2h}", "out_of_range", "features.notice"),
        ("access: {classes: [Training]}", "unknown_value", "access.classes[0]"),
        ("access: {tags: {}}", "out_of_range", "access.tags"),
        ("access: {tags: {Team: []}}", "empty_list", "access.tags.Team"),
        ("access: {tags: {'a b': [x]}}", "invalid_tag", "access.tags[`a b`]"),
        ("access: {tags: {Team: [\"a\\u202Eb\"]}}", "invalid_tag", "access.tags.Team[0]"),
    ] {
        let field = format!("pools[0].{field}");
        let error = only(&east(fields), code, &field);
        assert!(error.location.is_some() && !error.message.is_empty(), "{fields}");
    }
    for (value, code) in [
        ("boot: 3m..40s", "invalid_range"),
        ("boot: 1s..", "invalid_duration"),
        ("boot: 1s..2s..3s", "invalid_duration"),
        ("boot: 2d", "out_of_range"),
        ("lost_answers: 0.5", "invalid_percentage"),
        ("lost_answers: -1 %", "invalid_percentage"),
        ("lost_answers: 101 %", "out_of_range"),
        ("lost_answers: NaN%", "invalid_percentage"),
        ("lost_answers: 0.00001 %", "invalid_percentage"),
        ("calls_per_second: 0", "out_of_range"),
        ("seed: -1", "out_of_range"),
    ] {
        let simulated = format!("[{{name: a, simulated: {{{value}}}}}]");
        let field = value.split(':').next().unwrap();
        let text = east("").replace("[{name: a}]", &simulated);
        only(&text, code, &format!("accounts[0].simulated.{field}"));
    }
    for name in ["''", "-a", "A", "a b", "\"a\\nb\"", "'../x'", "\u{430}", &"a".repeat(64)] {
        only(
            &east("").replace("name: east", &format!("name: {name}")),
            "invalid_name",
            "pools[0].name",
        );
    }
    only(
        "version: 1\npools: [{name: a, kind: local, account: b}]",
        "not_of_this_kind",
        "pools[0].account",
    );
    only(
        "version: 1\npools: [{name: a, kind: simulated, account: local, region: r}]",
        "invalid_account",
        "pools[0].account",
    );
}

#[test]
fn hostile_documents() {
    use std::fmt::Write as _;
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    for (text, code) in [
        (bomb.as_str(), "yaml_alias_limit"),
        (&"[".repeat(100_000), "too_deep"),
        (&"#".repeat(MAX_FILE_BYTES + 1), "document_too_large"),
        ("", "empty_document"),
        ("# nothing\n", "empty_document"),
        ("[]", "invalid_type"),
        ("version: 1\n---\nversion: 1", "multiple_documents"),
        ("version: 1\nversion: 1", "duplicate_key"),
        ("version: !!int 1", "tag_not_allowed"),
        ("version: 1\n<<: {pools: []}", "merge_key_not_allowed"),
        ("version: 1\npools:\n\t- name: a", "invalid_yaml"),
        ("version: 1\npools: [{name: a", "invalid_yaml"),
        ("version: 1\npools: *nobody", "invalid_yaml"),
    ] {
        let errors = bad(text);
        assert_eq!(errors.errors[0].code, code, "{errors}");
        assert!(!errors.to_string().contains("job"), "{errors}");
    }
    let many: String = (0..5_000).map(|n| format!("field{n}: 1\n")).collect();
    let errors = bad(&many);
    assert_eq!((errors.errors.len(), errors.more), (100, 5_002 - 100));
    assert!(errors.to_string().ends_with("4902 more"), "{errors}");
    // Anchors are read: a person may use them to say something once.
    good(&(east("limits: &limits {machines: 2}") + "- {name: b, kind: local, limits: *limits}\n"));
}

#[test]
fn the_schema_explains_every_field_and_allows_no_other() {
    let schema = json_schema();
    let mut fields = 0;
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        assert!(
            definition["description"].as_str().is_some_and(|text| text.ends_with('.')),
            "{name}"
        );
        assert_eq!(definition["additionalProperties"], false, "{name}");
        for (field, property) in definition["properties"].as_object().unwrap() {
            let about = property["description"].as_str().unwrap();
            assert!(about.ends_with('.'), "{name}.{field}: {about}");
            fields += 1;
        }
    }
    assert!(fields > 50, "{fields}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

    /// Whatever becomes of a good file, it is read or refused with a place for each error;
    /// what the schema refuses is refused.
    #[test]
    fn a_spoilt_file_is_read_or_located(
        edits in proptest::collection::vec((0usize..4_000, 0usize..SPOILS.len(), 0usize..40), 1..6),
    ) {
        let mut text = EXAMPLE.lines().filter(|line| !line.trim_start().starts_with('#'))
            .map(|line| format!("{line}\n")).collect::<String>();
        for (at, spoil, length) in edits {
            let at = text.floor_char_boundary(at % (text.len() + 1));
            let end = text.floor_char_boundary(text.len().min(at + length));
            text.replace_range(at..end.max(at), SPOILS[spoil]);
        }
        match PoolsFile::parse(&text, "pools.yaml") {
            Ok(_) => proptest::prop_assert!(schema_takes(&text) != Some(false), "{}", text),
            Err(errors) => {
                proptest::prop_assert!(!errors.errors.is_empty());
                for error in &errors.errors {
                    let located = error.location.is_some() || error.code == "empty_document";
                    proptest::prop_assert!(located, "{:?}\n{}", error, text);
                    proptest::prop_assert!(!error.message.is_empty() && !error.code.is_empty());
                }
            }
        }
    }
}

/// What random places of a good file are replaced by.
const SPOILS: [&str; 40] = [
    "",
    "\n",
    " ",
    "  ",
    "\t",
    ":",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "#",
    "&a ",
    "*a",
    "!",
    "|",
    ">",
    "%",
    "'",
    "\"",
    "null",
    "~",
    "0",
    "-1",
    "1e999",
    ".nan",
    "true",
    "\u{feff}",
    "\u{0}",
    "\u{202e}",
    "é",
    "99999999999999999999",
    "kind: local",
    "---\n",
    "name: local\n",
    "..",
    "0s",
    "us-west-2b",
    "p3.",
];
