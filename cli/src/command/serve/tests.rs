use clap::Parser;
use spotwise_scheduler::tls::TlsSetting;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    serve: Serve,
}

fn options(flags: &[&str]) -> Result<ServeOptions, String> {
    let line = [&["serve", "--data-dir", "data"], flags].concat();
    let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
    line.serve.options().map_err(|failure| {
        assert_eq!(failure.exit(), Some(Exit::Usage));
        failure.message().unwrap_or_default().to_owned()
    })
}

#[test]
fn flags_become_a_configuration() {
    let flags = ["--market", "synthetic", "--speed", "240", "--notice-lead", "6s", "--cpus", "1.5"];
    let more = ["--memory", "2GiB", "--simulate-accelerators", "true", "--seed", "9"];
    let options = options(&[&flags[..], &more[..]].concat()).unwrap();
    let config = &options.config;
    assert!(config.data_dir.is_absolute());
    assert_eq!((config.control.speed, config.control.notice_lead), (240, Duration::from_secs(6)));
    assert_eq!((config.cpu_milli, config.memory_mib), (Some(1_500), Some(2_048)));
    assert!(config.simulate_accelerators);
    let synthetic =
        MarketChoice::Synthetic { seed: 9, turbulence: 1.0, days: SYNTHETIC_DAYS, start: None };
    assert_eq!(options.market, synthetic);
    assert!(summary(&options).contains("synthetic, seed 9, turbulence 1, 240x"));
}

#[test]
fn contradictions_are_refused() {
    for (flags, expected) in [
        (&["--speed", "2"][..], "--market synthetic"),
        (&["--listen", "10.0.0.7:7717"], "add --tls"),
        (&["--listen", "0.0.0.0:7717", "--tls"], "--advertise"),
        (&["--tls", "--tls-cert", "c.pem", "--tls-key", "k.pem"], "cannot be used with"),
        (&["--tls-cert", "c.pem"], "--tls-key"),
        (&["--tls-cert", "missing.pem", "--tls-key", "missing.pem"], "--tls-cert missing.pem"),
        (&["--trusted-proxy", "proxy.example"], "proxy.example"),
        (&["--name", "host:7717"], "without a port"),
        (&["--advertise", "http://10.0.0.7:7717"], "write an address such as https"),
        (&["--market", "market.txt"], ".csv or .json"),
        (&["--market", "missing.csv"], "No such file"),
        (&["--market-start", "2023-02-15T00:00:00Z"], "another time"),
        (&["--catalog", "missing.yaml"], "--catalog missing.yaml"),
        (&["--policy", "missing.yaml"], "missing.yaml"),
        (&["--speed", "0"], "0"),
        (&["--turbulence", "nan"], "from 0.01 to 1000"),
        (&["--cpus", "-1"], "-1"),
        (&["--memory", "8"], "8GB"),
        (&["--notice-lead", "soon"], "90s"),
    ] {
        let message = options(flags).unwrap_err();
        assert!(message.contains(expected), "{flags:?}: {message}");
    }
}

#[test]
fn others_reach_it_under_tls_or_through_a_proxy() {
    let flags = ["--listen", "10.0.0.7:7717", "--tls", "--name", "Spot.Example"];
    let config = options(&flags).unwrap().config;
    assert_eq!(
        (config.tls.clone(), config.url()),
        (TlsSetting::Own, "https://10.0.0.7:7717".into())
    );
    for name in ["spot.example", "10.0.0.7"] {
        assert!(config.site_names().iter().any(|it| it == name), "{name}");
    }
    let flags = ["--listen", "0.0.0.0:1", "--trusted-proxy", "10.0.0.1"];
    let advertised = ["--advertise", "https://spot.example"];
    let config = options(&[&flags[..], &advertised[..]].concat()).unwrap().config;
    assert_eq!(config.url(), "http://127.0.0.1:1");
    assert!(config.site_names().iter().any(|it| it == "spot.example"));
}

#[test]
fn amounts() {
    assert_eq!(cpus("0.25"), Ok(250));
    assert!(cpus("0").is_err() && cpus("0.0001").is_err());
    assert_eq!(memory("512MB"), Ok(488));
    assert!(memory("0GB").is_err() && memory("GB").is_err());
}
