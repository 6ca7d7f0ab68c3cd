//! `realdid top`: a node, live in the terminal.
//!
//! Invariant: however it ends (a key, a signal, an error, a panic), the terminal is as it was before: [`Screen`] restores it when dropped,
//! and ratatui's panic hook before a panic's message is printed. What is kept is bounded: the last looks alone.

mod screen;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::screen::View;
use super::output::{Output, full_text};
use super::watched::Node;
use super::{Ending, duration};

/// How long one look at the keyboard lasts, and so how much longer than the screen its thread may live.
const KEYS: Duration = Duration::from_millis(100);

/// Watch a node in the terminal; q quits.
///
/// It shows what `realdid status` shows, and how many blocks and transactions a second there are, again and again.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  realdid top --rpc http://127.0.0.1:26601\n  realdid top --home ./localnet/node0 --every 500ms"
)]
pub(super) struct Top {
    #[command(flatten)]
    node: Node,
    /// How often to look: such as 500ms or 2s, from 100ms on.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    every: Duration,
}

/// What people ask for with their keys.
enum Wish {
    Quit,
    /// The terminal has another size.
    Redraw,
}

/// The terminal while it shows a screen of ours.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> anyhow::Result<Self> {
        ratatui::try_init().map(Self).map_err(|error| {
            // What was done before it failed.
            let _ = ratatui::try_restore();
            anyhow::Error::new(error).context("the terminal cannot be drawn on")
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = ratatui::try_restore();
    }
}

impl Top {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        if self.every < Duration::from_millis(100) {
            bail!(Ending::CommandLine(format!("--every {:?} is too often: at least 100ms", self.every)));
        }
        if output.is_json() || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            bail!(Ending::CommandLine(
                "`realdid top` draws on a terminal, and here is none: use `realdid status`, with --json for programs".into()
            ));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.watch())
    }

    async fn watch(self) -> anyhow::Result<()> {
        let watch = self.node.watch()?;
        // One that cannot be reached at all is told as by any other command.
        let mut view = View::new(watch.look().await?, Instant::now());
        let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut screen = Screen::open()?;
        let mut wishes = keys();
        let mut looks = tokio::time::interval(self.every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            screen.0.draw(|frame| view.draw(frame)).context("the terminal cannot be drawn on")?;
            tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(()),
                _ = hang_up.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                wish = wishes.recv() => match wish {
                    Some(Ok(Wish::Redraw)) => {}
                    Some(Ok(Wish::Quit)) | None => return Ok(()),
                    Some(Err(error)) => return Err(error).context("the keyboard cannot be read"),
                },
                seen = async { looks.tick().await; watch.look().await } => match seen {
                    Ok(seen) => view.show(seen, Instant::now()),
                    // It may come back: what was seen last stays, and is told to be old.
                    Err(error) => view.fail(full_text(&error)),
                },
            }
        }
    }
}

/// Reads the keyboard on a thread of its own, which ends when nobody listens any more.
fn keys() -> mpsc::Receiver<io::Result<Wish>> {
    let (wishes, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        while !wishes.is_closed() {
            let wish = match event::poll(KEYS).and_then(|there| there.then(event::read).transpose()) {
                Ok(None) => continue,
                Ok(Some(event)) => match wish(&event) {
                    Some(wish) => Ok(wish),
                    None => continue,
                },
                Err(error) => Err(error),
            };
            let is_last = wish.is_err();
            if wishes.blocking_send(wish).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

fn wish(event: &Event) -> Option<Wish> {
    match event {
        Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => None,
        Event::Key(KeyEvent { code: KeyCode::Char('q' | 'Q') | KeyCode::Esc, .. }) => Some(Wish::Quit),
        // In raw mode the terminal makes no signal of it.
        Event::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Some(Wish::Quit)
        }
        Event::Resize(..) => Some(Wish::Redraw),
        _ => None,
    }
}
