//! What the demo shows while it runs: a screen that is redrawn on a terminal,
//! lines elsewhere.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use spotwise_api::client::{AnswerStream, Client};
use spotwise_api::v1::{Event, InfoResponse, JobSummary, ListJobsRequest, OfferView, WatchRequest};

use crate::exit::Failure;
use crate::format::{bar, clock, dollars, hourly, percent, saving};
use crate::output::{Grid, Output};
use crate::screen::Screen;
use crate::text::one_line;

/// How often a screen is drawn.
const REFRESH: Duration = Duration::from_millis(500);
/// How often lines say how it is going.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// Events that would push away those worth reading: a checkpoint every few
/// seconds a job.
const QUIET: [&str; 4] = ["submitted", "waiting", "checkpointed", "settled"];

/// The show.
pub(super) struct Live {
    output: Output,
    screen: Option<Screen>,
    events: AnswerStream<Event>,
    last_event: u64,
    recent: VecDeque<Event>,
    expected: usize,
    started: Instant,
    last_status: Instant,
}

/// What one screen is made of.
struct Frame<'a> {
    info: &'a InfoResponse,
    jobs: &'a [JobSummary],
    offers: &'a [OfferView],
    events: &'a VecDeque<Event>,
    elapsed: Duration,
}

impl Live {
    /// For so many jobs.
    pub(super) async fn new(
        output: &Output,
        client: &Client,
        expected: usize,
    ) -> Result<Self, Failure> {
        Ok(Self {
            output: *output,
            screen: output.terminal.then(Screen::new),
            events: client.watch(WatchRequest::default()).await?,
            last_event: 0,
            recent: VecDeque::new(),
            expected,
            started: Instant::now(),
            last_status: Instant::now(),
        })
    }

    /// Shows what has happened until the next refresh; true when every job is
    /// over.
    pub(super) async fn tick(&mut self, client: &Client) -> Result<bool, Failure> {
        let until = tokio::time::Instant::now() + REFRESH;
        while let Ok(event) = tokio::time::timeout_at(until, self.events.next()).await {
            match event {
                Ok(Some(event)) => self.see(event)?,
                // A watcher that fell behind is sent away; the store has the rest.
                Ok(None) | Err(_) => {
                    tokio::time::sleep_until(until).await;
                    let after_event = self.last_event;
                    let request = WatchRequest { after_event, ..WatchRequest::default() };
                    self.events = client.watch(request).await?;
                }
            }
        }
        let (jobs, _) = client.list_all(ListJobsRequest::default(), usize::MAX).await?;
        let over = jobs.len() >= self.expected && jobs.iter().all(|job| !job.ended.is_empty());
        let due = self.last_status.elapsed() >= STATUS_EVERY;
        if self.screen.is_some() || due || over {
            self.last_status = Instant::now();
            let info = client.info().await?;
            self.show(client, &info, &jobs).await?;
        }
        Ok(over)
    }

    async fn show(
        &mut self,
        client: &Client,
        info: &InfoResponse,
        jobs: &[JobSummary],
    ) -> Result<(), Failure> {
        let elapsed = self.started.elapsed();
        let Some(screen) = &mut self.screen else {
            return self.output.line(self.output.dim(&status(info, jobs, elapsed)));
        };
        let offers = client.offers("", true).await?.offers;
        let frame = Frame { info, jobs, offers: &offers, events: &self.recent, elapsed };
        screen.draw(&frame.render(&self.output, screen.height()))
    }

    fn see(&mut self, event: Event) -> Result<(), Failure> {
        self.last_event = self.last_event.max(event.number);
        if QUIET.contains(&event.kind.as_str()) {
            return Ok(());
        }
        if self.screen.is_none() {
            let cells = event_cells(&event);
            let line = format!("{}  {:<7} {:<10} {}", cells[0], cells[1], cells[2], cells[3]);
            return self.output.line(one_line(&line));
        }
        self.recent.push_back(event);
        // More than the tallest screen shows.
        if self.recent.len() > 50 {
            self.recent.pop_front();
        }
        Ok(())
    }
}

impl Frame<'_> {
    fn render(&self, output: &Output, height: usize) -> String {
        // Title, status, three headings, a line of others: seven lines are taken.
        let events = (height.saturating_sub(10) / 4).clamp(3, 12);
        let offers = (height.saturating_sub(10) / 6).clamp(2, 8);
        let jobs = height.saturating_sub(9 + events + offers).max(3);
        let mut lines = vec![
            format!("{}  {}", output.bold("spotwise demo"), output.dim(&market(self.info))),
            status(self.info, self.jobs, self.elapsed),
            String::new(),
        ];
        lines.extend(self.jobs(output, jobs));
        lines.push(String::new());
        lines.extend(self.offers(output, offers));
        lines.push(String::new());
        let mut grid = Grid::plain(&[]);
        for event in self.events.iter().rev().take(events) {
            grid.row(event_cells(event));
        }
        if !grid.is_empty() {
            lines.push(output.render_wide(&grid));
        }
        lines.join("\n")
    }

    /// What runs first, then what waits, then what is over, newest end first.
    fn jobs(&self, output: &Output, most: usize) -> Vec<String> {
        let rank = |job: &JobSummary| match job.state.as_str() {
            "active" => 0,
            "held" => 1,
            "waiting" => 2,
            _ => 3,
        };
        let mut jobs: Vec<&JobSummary> = self.jobs.iter().rev().collect();
        jobs.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| b.ended.cmp(&a.ended)));
        let mut grid =
            Grid::new(&["JOB", "", "STATE", "DONE", "", ">SPENT", ">INT", "WHERE OR WHY"]);
        for job in jobs.iter().take(most) {
            let detail = if job.ended.is_empty() { &job.detail } else { &job.deadline_outcome };
            grid.row([
                job.id.clone(),
                job.name.clone(),
                job.state.clone(),
                bar(job.progress, 12),
                percent(job.progress),
                dollars(job.spent_micros),
                job.interruptions.to_string(),
                detail.clone(),
            ]);
        }
        let mut lines = vec![output.render_wide(&grid)];
        if jobs.len() > most {
            lines.push(output.dim(&format!("and {} more", jobs.len() - most)));
        }
        lines
    }

    /// What we hold first, then the cheapest that is free.
    fn offers(&self, output: &Output, most: usize) -> Vec<String> {
        let mut offers: Vec<&OfferView> = self
            .offers
            .iter()
            .filter(|offer| offer.held > 0 || offer.free > 0 || offer.free_unknown)
            .collect();
        offers.sort_by_key(|offer| {
            (offer.held == 0, offer.gpus == 0, offer.price_micros_per_hour, &offer.zone)
        });
        let mut grid = Grid::new(&["OFFER", "", "", ">PRICE/H", ">VS OD", ">HELD", ">FREE"]);
        for offer in offers.iter().take(most) {
            grid.row([
                offer.capacity_type.clone(),
                offer.instance_type.clone(),
                offer.zone.clone(),
                hourly(offer.price_micros_per_hour),
                saving(offer.price_micros_per_hour, offer.on_demand_micros_per_hour),
                offer.held.to_string(),
                if offer.free_unknown { "?".to_owned() } else { offer.free.to_string() },
            ]);
        }
        vec![output.render_wide(&grid)]
    }
}

fn event_cells(event: &Event) -> [String; 4] {
    let who = if event.attempt.is_empty() { &event.job } else { &event.attempt };
    [clock(&event.at), who.clone(), event.kind.clone(), event.message.clone()]
}

/// `market: synthetic, seed 11, 240x; accelerators simulated on CPUs`.
fn market(info: &InfoResponse) -> String {
    let accelerators =
        if info.simulated_accelerators { "; accelerators simulated on CPUs" } else { "" };
    one_line(&format!("market: {}, {}x{accelerators}", info.market, info.speed)).into_owned()
}

fn status(info: &InfoResponse, jobs: &[JobSummary], elapsed: Duration) -> String {
    let over = jobs.iter().filter(|job| !job.ended.is_empty()).count();
    let active = jobs.iter().filter(|job| job.state == "active").count();
    let interruptions: u32 = jobs.iter().map(|job| job.interruptions).sum();
    format!(
        "{}Z market time, {} s in: {over} of {} jobs done, {active} active, {} waiting; \
         {interruptions} interruptions; {} spent",
        clock(&info.market_time),
        elapsed.as_secs(),
        jobs.len(),
        jobs.len() - over - active,
        dollars(info.spent_micros)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn a_frame_fits_its_screen() {
        let job = |number: usize| JobSummary {
            id: format!("j{number}"),
            name: format!("infer[{number}]"),
            state: if number < 3 { "active" } else { "succeeded" }.to_owned(),
            ended: if number < 3 { String::new() } else { "2023-02-15T00:00:00Z".to_owned() },
            ..JobSummary::default()
        };
        let jobs: Vec<JobSummary> = (1..=40).map(job).collect();
        let offer = OfferView { free: 1, zone: "us-east-1a".into(), ..OfferView::default() };
        let offers = vec![offer; 30];
        let events: VecDeque<Event> = (0..30)
            .map(|number| Event { number, kind: "placed".into(), ..Event::default() })
            .collect();
        let info = InfoResponse::default();
        let frame =
            Frame { info: &info, jobs: &jobs, offers: &offers, events: &events, elapsed: REFRESH };
        let output = Output::new(Format::Table, true);
        for height in [24, 30, 50] {
            let text = frame.render(&output, height);
            assert!(text.lines().count() < height, "{height}:\n{text}");
            assert!(text.contains("j1 ") && text.contains("j2 "), "what runs is shown:\n{text}");
        }
    }
}
