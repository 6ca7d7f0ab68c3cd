//! What `realdid top` shows: where the node stands, how fast it goes, its peers, and what needs attention.

use std::collections::VecDeque;
use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use crate::cli::watched::{Seen, ahead, bytes, millis, skew_ms};

/// How many looks the curve shows at most: more than a terminal is wide.
const MOST_LOOKS: usize = 512;

/// What is shown now.
pub(super) struct View {
    seen: Seen,
    at: Instant,
    /// Why the last look failed, if it did.
    failed: Option<String>,
    /// Between the last two looks, a second.
    blocks: f64,
    transactions: f64,
    /// Transactions a second, the newest first.
    curve: VecDeque<u64>,
}

impl View {
    pub(super) fn new(seen: Seen, at: Instant) -> Self {
        Self { seen, at, failed: None, blocks: 0.0, transactions: 0.0, curve: VecDeque::new() }
    }

    /// Shows what was seen at `at`.
    pub(super) fn show(&mut self, seen: Seen, at: Instant) {
        let (before, now) = (&self.seen.status, &seen.status);
        let elapsed = at.saturating_duration_since(self.at).as_secs_f64();
        if elapsed > 0.0 {
            self.blocks = now.height.since(before.height) as f64 / elapsed;
            // A node that was restarted counts from 0 again.
            self.transactions = now.transactions.saturating_sub(before.transactions) as f64 / elapsed;
            self.curve.push_front(self.transactions.round() as u64);
            self.curve.truncate(MOST_LOOKS);
        }
        (self.seen, self.at, self.failed) = (seen, at, None);
    }

    /// The node could not be asked.
    pub(super) fn fail(&mut self, why: String) {
        self.failed = Some(why);
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let alarms = self.alarms();
        let lines = u16::try_from(alarms.lines.len()).unwrap_or(u16::MAX).min(frame.area().height / 3);
        let [title, facts, curve, peers, bottom, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(6),
            Constraint::Length(5),
            Constraint::Min(3),
            Constraint::Length(lines.saturating_add(1)),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.title(), title);
        frame.render_widget(self.facts(), facts);
        self.draw_curve(frame, curve);
        frame.render_widget(self.peers(), peers);
        frame.render_widget(Paragraph::new(alarms).block(titled("Alarms")), bottom);
        frame.render_widget(Line::from(" q quits").dim(), foot);
    }

    fn title(&self) -> Line<'_> {
        let status = &self.seen.status;
        let state = if status.ready { Span::from("ready").green() } else { Span::from("not ready").yellow() };
        Line::from(vec![
            Span::from(format!(" {} on network `{}`  ", status.node, status.network)).bold(),
            state,
            Span::from(format!("  {}", status.software)).dim(),
        ])
    }

    fn facts(&self) -> Paragraph<'_> {
        let status = &self.seen.status;
        let age = status
            .seconds_since_block
            .map_or_else(|| "none seen yet".to_owned(), |age| format!("{age} s ago"));
        let clock = skew_ms(&self.seen.peers).map_or_else(
            || "not shown yet".to_owned(),
            |skew| format!("{} {} the others'", millis(skew), ahead(skew)),
        );
        let unsigned = status.height.since(status.certified_height);
        let mut lines = vec![
            fact(
                "height",
                format!("{}, newest block {age}; {:.1} blocks a second", status.height, self.blocks),
            ),
            fact(
                "view",
                format!(
                    "{}, led by {}; epoch {}; Δ {} ms",
                    status.view, status.leader, status.epoch, status.delta_ms
                ),
            ),
            fact(
                "validators",
                format!(
                    "{}, of which {} decide; this one: {}",
                    status.validators, status.quorum, status.standing
                ),
            ),
            fact("lag", format!("{} blocks to execute, {unsigned} without a signed result", status.lag)),
            fact(
                "waiting",
                format!("{} transactions, {} batches", status.pending_transactions, status.waiting_batches),
            ),
        ];
        let disk = self.seen.disk.map(|room| format!("; {} free on the disk", bytes(room.free_bytes)));
        lines.push(fact("clock", format!("{clock}{}", disk.unwrap_or_default())));
        Paragraph::new(lines)
    }

    fn draw_curve(&self, frame: &mut Frame<'_>, area: Rect) {
        let title = format!("{:.0} transactions a second", self.transactions);
        let width = usize::from(area.width);
        let data: Vec<u64> = self.curve.iter().take(width).rev().copied().collect();
        frame.render_widget(Sparkline::default().block(titled(title)).data(&data).style(Color::Cyan), area);
    }

    fn peers(&self) -> Table<'_> {
        let heads = Row::new(["PEER", "LINK", "CLOCK", "QUEUED", "ADDRESS"]).dim();
        let rows = self.seen.peers.iter().map(|peer| {
            let link = match (peer.connected, peer.round_trip_ms) {
                (false, _) => Cell::from("away").yellow(),
                (true, None) => Cell::from("connected").green(),
                (true, Some(millis)) => Cell::from(format!("{millis} ms")).green(),
            };
            // As the node's clock is to this one's, so is this one's to the node's, the other way round.
            let clock = peer.clock_skew_ms.map_or_else(String::new, |skew| {
                format!("{} {}", millis(skew), if skew < 0 { "ahead" } else { "behind" })
            });
            let name = if peer.validator { peer.name.clone() } else { format!("{} (observer)", peer.name) };
            let queued = peer.queued_frames.to_string();
            Row::new([Cell::from(name), link, clock.into(), queued.into(), peer.address.clone().into()])
        });
        let widths = [
            Constraint::Fill(2),
            Constraint::Length(10),
            Constraint::Length(14),
            Constraint::Length(7),
            Constraint::Fill(2),
        ];
        let status = &self.seen.status;
        let title = format!("Peers: {} of {} connected", status.peers_connected, self.seen.peers.len());
        Table::new(rows, widths).header(heads).block(titled(title))
    }

    fn alarms(&self) -> Text<'_> {
        let failed = self
            .failed
            .iter()
            .map(|why| format!("what is shown is {} s old: {why}", self.at.elapsed().as_secs()));
        let alarms = failed.chain(self.seen.alarms.iter().cloned());
        let lines: Vec<Line<'_>> = alarms.map(|alarm| Line::from(format!(" {alarm}")).yellow()).collect();
        if lines.is_empty() { Line::from(" none").green().into() } else { lines.into() }
    }
}

fn fact(name: &'static str, value: String) -> Line<'static> {
    Line::from(vec![Span::from(format!(" {name:<12}")).dim(), Span::from(value)])
}

fn titled<'a>(title: impl Into<Line<'a>>) -> Block<'a> {
    Block::new().borders(Borders::TOP).title(title).title_style(Style::new().bold())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use genesis::Height;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::watched::tests::seen;

    /// What a terminal of this size shows.
    fn shown(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(usize::from(width));
        lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
    }

    #[test]
    fn it_shows_where_the_node_stands_how_fast_it_goes_and_its_peers() {
        let start = Instant::now();
        let mut view = View::new(seen(), start);
        let mut later = seen();
        later.status.height = Height(310);
        later.status.transactions = 1_500;
        later.peers[1].connected = false;
        later.alarms = vec!["not connected: node2".into()];
        view.show(later, start + Duration::from_secs(2));
        let text = shown(&view, 90, 24);
        for part in [
            "node0 on network `test`  ready",
            "310, newest block 1 s ago; 5.0 blocks a second",
            "301, led by node1; epoch 2",
            "250 transactions a second",
            "3 ms ahead of the others'; 8.0 GiB free on the disk",
            "not connected: node2",
            "q quits",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        let peer = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(peer("node1").contains("1 ms") && peer("node2").contains("away"), "{text}");
        assert!(peer("node3").contains("3600 s behind") && peer("node2").contains("2 ms ahead"), "{text}");
    }

    #[test]
    fn a_node_that_does_not_answer_any_more_is_told_and_what_was_seen_stays() {
        let mut view = View::new(seen(), Instant::now());
        assert!(shown(&view, 80, 24).contains("none"));
        view.fail("connection refused at http://127.0.0.1:1".into());
        let text = shown(&view, 80, 24);
        assert!(
            text.contains("what is shown is 0 s old: connection refused") && text.contains("node3"),
            "{text}"
        );
        view.show(seen(), Instant::now());
        assert!(!shown(&view, 80, 24).contains("refused"));
    }

    #[test]
    fn no_terminal_is_too_small_and_no_watch_too_long() {
        let start = Instant::now();
        let mut view = View::new(seen(), start);
        view.seen.alarms = vec!["much".into(); 50];
        for turn in 1..2_000 {
            view.show(seen(), start + Duration::from_millis(turn));
        }
        assert_eq!(view.curve.len(), MOST_LOOKS);
        for (width, height) in [(1, 1), (5, 3), (20, 8), (200, 60)] {
            shown(&view, width, height);
        }
    }
}
