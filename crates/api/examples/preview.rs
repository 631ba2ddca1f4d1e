//! Writes the voters' pages in every state, with sample numbers, to a folder that any file
//! server can show: `cargo run -p paredao-api --example preview -- target/preview`.

use std::fs;
use std::path::{Path, PathBuf};

use paredao_api::assets;
use paredao_api::pages::{self, CandidateView, Occasion, OtherPoll, PollView};
use paredao_domain::{PollState, Slug, UnixMillis, UtcOffset, apportion};

type Anything = Box<dyn std::error::Error>;

const HOUSE: [&str; 20] = [
    "Ana Clara",
    "Gustavo Henrique",
    "Bia",
    "Thelma",
    "Prior",
    "Manu Gavassi",
    "Ícaro",
    "Juliette",
    "Fiuk",
    "Camilla de Lucas",
    "Gil",
    "Arthur Aguiar",
    "Paulo André",
    "Douglas",
    "Amanda",
    "Bruna Griphao",
    "Larissa",
    "Davi",
    "Matteus",
    "Isabelle",
];

fn main() -> Result<(), Anything> {
    let folder: PathBuf = std::env::args().nth(1).ok_or("which folder?")?.into();
    fs::create_dir_all(&folder)?;
    for count in [2, 3, 4, 5, 7, 20] {
        write_poll(&folder, &format!("{count}"), count, PollState::Open)?;
    }
    write_poll(&folder, "agendado", 3, PollState::Scheduled)?;
    write_poll(&folder, "encerrado", 3, PollState::Closed)?;
    write_poll(&folder, "final", 3, PollState::Final)?;
    fs::write(folder.join("nenhuma.html"), pages::no_poll()?)?;
    fs::write(folder.join("404.html"), pages::not_found()?)?;
    copy_files(&folder)
}

fn write_poll(folder: &Path, name: &str, count: usize, state: PollState) -> Result<(), Anything> {
    let (slug, other) = ("exemplo".parse()?, "outra".parse()?);
    let poll = sample(count, state, &slug, &other);
    fs::write(
        folder.join(format!("votar-{name}.html")),
        pages::vote(&poll)?,
    )?;
    fs::write(
        folder.join(format!("resultado-{name}.html")),
        pages::results(&poll)?,
    )?;
    Ok(())
}

fn sample<'a>(count: usize, state: PollState, slug: &'a Slug, other: &'a Slug) -> PollView<'a> {
    let votes: Vec<u64> = (0..count as u64)
        .map(|i| 869_639_322 / (i * i + 1))
        .collect();
    let candidates = HOUSE
        .iter()
        .zip(apportion(&votes))
        .zip(&votes)
        .zip(1..)
        .map(|(((name, percentage), &votes), number)| CandidateView {
            number,
            name,
            percentage,
            votes,
        })
        .collect();
    let now = UnixMillis(1_795_220_043_120);
    PollView {
        slug,
        title: "Quem deve sair da casa?",
        state,
        candidates,
        opens_at: Some(now.plus(754_000)),
        closes_at: Some(now.plus(4_354_000)),
        data_as_of: now,
        now,
        offset: UtcOffset::BRASILIA,
        occasion: if count == 3 {
            Occasion::OnAir
        } else {
            Occasion::Demonstration
        },
        elsewhere: Some(OtherPoll {
            slug: other,
            title: "Quem leva o carro?",
        }),
    }
}

/// Copies the compiled-in files to where the pages look for them.
fn copy_files(folder: &Path) -> Result<(), Anything> {
    let target = folder.join(assets::prefix().trim_start_matches('/'));
    fs::create_dir_all(&target)?;
    for asset in assets::all() {
        fs::write(target.join(asset.name), &asset.representation(None).bytes)?;
    }
    Ok(())
}
