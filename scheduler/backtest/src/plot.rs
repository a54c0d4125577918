//! Cost and machines over time, as SVG.

use std::fmt::Write;

use super::measure::{Measures, Series};

const WIDTH: f64 = 900.0;
/// The height of each of the two panels.
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 66.0;
const GAP: f64 = 60.0;
/// Distinguishable for most people with colour blindness (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// Draws what every planner spent, and how many machines it used.
pub fn plot(title: &str, measures: &[Measures]) -> String {
    let height = TOP + 2.0 * (HEIGHT + GAP);
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    legend(&mut svg, measures);
    panel(&mut svg, TOP, "dollars spent", measures, |series| &series.dollars);
    panel(&mut svg, TOP + HEIGHT + GAP, "machines", measures, |series| &series.machines);
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, measures: &[Measures]) {
    let mut x = LEFT;
    for (measure, colour) in measures.iter().zip(COLOURS.iter().cycle()) {
        let dollars = measure.cost_micros as f64 / 1e6;
        let text = format!("{} (${dollars:.0})", measure.planner);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"28\" width=\"12\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"34\">{}</text>",
            x + 16.0,
            escape(&text)
        );
        x += 40.0 + 7.0 * text.chars().count() as f64;
    }
}

fn panel(
    svg: &mut String,
    top: f64,
    name: &str,
    measures: &[Measures],
    values: impl Fn(&Series) -> &Vec<f64>,
) {
    let largest = |list: &dyn Fn(&Measures) -> f64| measures.iter().map(list).fold(0.0, f64::max);
    let most = |list: &[f64]| list.iter().copied().fold(0.0, f64::max);
    let days = (largest(&|m| most(&m.series.hours)) / 24.0).max(1e-9);
    let (tick, high) = scale(largest(&|m| most(values(&m.series))));
    let (inner, bottom) = (WIDTH - LEFT - RIGHT, top + HEIGHT);
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", top - 4.0, escape(name));
    let mut mark = 0.0;
    while mark <= high * 1.000_001 {
        let y = bottom - mark / high * HEIGHT;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            rounded(mark, tick)
        );
        mark += tick;
    }
    let (day_tick, _) = scale(days);
    let mut day = 0.0;
    while day <= days {
        let x = LEFT + day / days * inner;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">day {}</text>",
            bottom + 16.0,
            rounded(day, day_tick)
        );
        day += day_tick;
    }
    let position = |(hours, value): (&f64, &f64)| {
        let x = LEFT + hours / 24.0 / days * inner;
        format!("{x:.1},{:.1}", bottom - value / high * HEIGHT)
    };
    // The first lies on top, and those below are wider: equal lines stay visible.
    let coloured = measures.iter().zip(COLOURS.iter().cycle()).enumerate();
    for (at, (measure, colour)) in coloured.collect::<Vec<_>>().into_iter().rev() {
        let points = measure.series.hours.iter().zip(values(&measure.series));
        let points: Vec<String> = points.map(position).collect();
        let width = 1.5 + at.min(3) as f64;
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\" points=\"{}\"/>",
            points.join(" ")
        );
    }
}

/// A round distance between about five marks, and the highest of them.
fn scale(most: f64) -> (f64, f64) {
    if most <= 0.0 || !most.is_finite() {
        return (1.0, 1.0);
    }
    let power = 10f64.powf((most / 5.0).log10().floor());
    let tick = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let tick = tick.into_iter().find(|tick| most / tick <= 5.0).unwrap_or(power * 10.0);
    (tick, tick * (most / tick).ceil())
}

/// With as many decimals as the distance of marks requires.
fn rounded(mark: f64, tick: f64) -> String {
    let decimals = (-tick.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{mark:.decimals$}")
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_hold_everything() {
        assert_eq!(scale(100.0), (20.0, 100.0));
        assert_eq!(scale(7.0), (2.0, 8.0));
        assert_eq!(scale(1234.0), (500.0, 1500.0));
        assert_eq!(scale(0.0), (1.0, 1.0));
        assert_eq!((rounded(0.1 + 0.2, 0.1), rounded(40.0, 20.0)), ("0.3".into(), "40".into()));
        assert_eq!(scale(f64::NAN), (1.0, 1.0));
    }

    #[test]
    fn the_first_lies_on_top_and_covers_no_equal_line() {
        let svg = plot("equal", &[flat("ours"), flat("theirs")]);
        let panels: Vec<&str> = svg.split("machines</text>").collect();
        assert_eq!(panels.len(), 2);
        for panel in panels {
            let lines: Vec<&str> = panel.lines().filter(|l| l.starts_with("<polyline")).collect();
            let [below, top] = lines[..] else { panic!("{lines:?}") };
            assert!(top.contains(COLOURS[0]) && top.contains("stroke-width=\"1.5\""), "{top}");
            assert!(
                below.contains(COLOURS[1]) && below.contains("stroke-width=\"2.5\""),
                "{below}"
            );
        }
    }

    fn flat(planner: &str) -> Measures {
        let series =
            Series { hours: vec![0.0, 24.0], dollars: vec![0.0, 5.0], machines: vec![1.0, 1.0] };
        Measures {
            planner: planner.to_owned(),
            cost_micros: 5_000_000,
            on_demand_micros: 10_000_000,
            cost_share: 0.5,
            jobs: 1,
            missed: 0,
            unfinished: 0,
            machine_hours: 24.0,
            utilisation: 1.0,
            spot_share: 1.0,
            wait_mean_hours: 0.0,
            wait_p90_hours: 0.0,
            interruptions: 0,
            moves: 0,
            plans: 1,
            plans_cut_short: 0,
            series,
        }
    }

    #[test]
    fn text_is_made_safe() {
        assert_eq!(escape("a<b>&\n"), "a&lt;b&gt;&amp;");
    }
}
