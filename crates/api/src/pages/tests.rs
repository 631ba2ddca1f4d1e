use std::sync::LazyLock;

use paredao_domain::apportion;

use super::*;

const NOW: UnixMillis = UnixMillis(1_795_220_043_120);

static SHOWN: LazyLock<Slug> = LazyLock::new(|| "final-2026".parse().unwrap());
static OTHER: LazyLock<Slug> = LazyLock::new(|| "prova-do-lider".parse().unwrap());

fn poll(state: PollState) -> PollView<'static> {
    let votes = [5673, 4251, 76];
    let names = ["Ana Clara", "Gustavo", "Bia & <i>Cia</i>"];
    let candidates = (1..)
        .zip(names)
        .zip(apportion(&votes))
        .zip(votes)
        .map(|(((number, name), percentage), votes)| CandidateView {
            number,
            name,
            percentage,
            votes,
        })
        .collect();
    PollView {
        slug: &SHOWN,
        title: "Quem deve sair?",
        state,
        candidates,
        opens_at: Some(NOW.plus(-60_000)),
        closes_at: Some(NOW.plus(3_600_000)),
        data_as_of: NOW.plus(-800),
        now: NOW,
        offset: UtcOffset::BRASILIA,
        occasion: Occasion::OnAir,
        elsewhere: None,
    }
}

/// The same while another poll takes votes.
fn poll_beside_an_open_one(state: PollState) -> PollView<'static> {
    PollView {
        elsewhere: Some(OtherPoll {
            slug: &OTHER,
            title: "Quem leva & <i>ganha</i>?",
        }),
        ..poll(state)
    }
}

const STATES: [PollState; 4] = [
    PollState::Scheduled,
    PollState::Open,
    PollState::Closed,
    PollState::Final,
];

fn every_page() -> Vec<String> {
    let mut pages = vec![no_poll().unwrap(), not_found().unwrap()];
    for state in STATES {
        pages.push(vote(&poll(state)).unwrap());
        pages.push(results(&poll(state)).unwrap());
        pages.push(vote(&poll_beside_an_open_one(state)).unwrap());
        pages.push(results(&poll_beside_an_open_one(state)).unwrap());
    }
    pages
}

/// Values of an attribute in a page, in order.
fn attribute<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    page.split(start.as_str())
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

/// A file's bytes on the wire to a browser.
fn sent(name: &str) -> &'static [u8] {
    let asset = assets::find(name).unwrap().asset;
    &asset.representation(Some("gzip, deflate, br")).bytes
}

#[test]
fn the_wall_has_a_button_for_every_candidate_of_an_open_poll() {
    let page = vote(&poll(PollState::Open)).unwrap();
    assert_eq!(page.matches("<button class=\"poster").count(), 3);
    assert!(page.contains("data-numero=\"1\" data-nome=\"Ana Clara\""));
    assert!(page.contains("data-estado=\"aberto\""));
}

#[test]
fn there_is_nothing_to_tap_unless_the_poll_is_open() {
    for state in [PollState::Scheduled, PollState::Closed, PollState::Final] {
        let page = vote(&poll(state)).unwrap();
        assert_eq!(page.matches("<button").count(), 0, "{state:?}");
    }
}

#[test]
fn a_closed_poll_leads_to_its_numbers() {
    let page = vote(&poll(PollState::Closed)).unwrap();
    assert!(page.contains("A votação está encerrada"));
    assert!(page.contains("class=\"action\" href=\"/p/final-2026/resultado\""));
}

/// The bare addresses may mean another poll by the time the page uses them.
#[test]
fn whatever_a_page_asks_for_is_of_the_poll_it_shows() {
    for state in STATES {
        for page in [vote(&poll(state)).unwrap(), results(&poll(state)).unwrap()] {
            assert_eq!(attribute(&page, "data-base"), ["/p/final-2026"]);
            for address in attribute(&page, "href") {
                let is_of_the_poll = address.starts_with("/p/final-2026/");
                let is_of_none = ["/", "/recibo/", "#conteudo"].contains(&address)
                    || address.starts_with("/static/");
                assert!(is_of_the_poll || is_of_none, "{state:?}: {address}");
            }
        }
    }
}

#[test]
fn a_poll_that_takes_no_votes_leads_on_to_one_that_does() {
    for state in STATES {
        for render in [vote, results] {
            let shown = "id=\"elsewhere\"><span>";
            let alone = render(&poll(state)).unwrap();
            assert!(!alone.contains(shown), "{state:?}");
            let page = render(&poll_beside_an_open_one(state)).unwrap();
            let is_open = state == PollState::Open;
            assert_eq!(page.contains(shown), !is_open, "{state:?}");
            assert_eq!(page.contains("href=\"/p/prova-do-lider/\""), !is_open);
        }
    }
}

#[test]
fn exact_numbers_never_appear_before_the_result_is_final() {
    for state in [PollState::Scheduled, PollState::Open, PollState::Closed] {
        for page in [vote(&poll(state)).unwrap(), results(&poll(state)).unwrap()] {
            assert!(
                !page.contains("5.673") && !page.contains("10.000"),
                "{state:?}"
            );
            assert!(!page.contains("Resultado final"), "{state:?}");
        }
    }
    let page = results(&poll(PollState::Final)).unwrap();
    for exact in [
        "5.673 votos",
        "4.251 votos",
        "76 votos",
        "10.000 votos",
        "Resultado final",
    ] {
        assert!(page.contains(exact), "{exact}");
    }
}

#[test]
fn percentages_stand_in_the_page_itself() {
    let page = results(&poll(PollState::Open)).unwrap();
    for text in ["56,73%", "42,51%", "0,76%", ">Parcial<"] {
        assert!(page.contains(text), "{text}");
    }
    let widths = attribute(&page, "width");
    for width in ["56.73%", "42.51%", "0.76%"] {
        assert!(widths.contains(&width), "{width}");
    }
}

#[test]
fn only_the_leader_is_marked_and_nobody_while_there_are_no_votes() {
    let mut open = poll(PollState::Open);
    assert_eq!(results(&open).unwrap().matches(" leads\"").count(), 1);
    for candidate in &mut open.candidates {
        candidate.percentage = Percentage::default();
    }
    assert_eq!(results(&open).unwrap().matches(" leads\"").count(), 0);
}

#[test]
fn names_are_text_and_never_markup() {
    for page in every_page() {
        assert!(!page.contains("<i>"));
    }
    assert!(
        vote(&poll(PollState::Open))
            .unwrap()
            .contains("Bia &#38; &#60;i&#62;Cia")
    );
}

/// The policy forbids what is inline and what is elsewhere; a page that had it would break.
#[test]
fn every_page_says_that_it_is_in_portuguese() {
    for page in every_page() {
        assert!(page.contains("<html lang=\"pt-BR\">"), "{page}");
    }
}

#[test]
fn nothing_is_inline_and_nothing_comes_from_another_host() {
    for page in every_page() {
        assert!(!page.contains("<style") && attribute(&page, "style").is_empty());
        assert!(!page.contains(" onclick") && !page.contains("javascript:"));
        assert!(!page.contains("<script>"));
        for address in ["href", "src"]
            .iter()
            .flat_map(|name| attribute(&page, name))
        {
            assert!(
                address.starts_with('/') && !address.starts_with("//") || address == "#conteudo",
                "{address}"
            );
        }
    }
}

#[test]
fn every_file_a_page_names_is_compiled_in_and_kept_for_ever() {
    for page in every_page() {
        let addresses = ["href", "src"]
            .iter()
            .flat_map(|name| attribute(&page, name));
        for path in addresses.filter_map(|a| a.strip_prefix("/static/")) {
            let found = assets::find(path).unwrap_or_else(|| panic!("{path}"));
            assert!(found.cache_control.contains("immutable"), "{path}");
        }
    }
}

/// What a phone on a bad line has to fetch before it can vote. The page itself counts in full:
/// it is not compressed here, though a proxy may.
#[test]
fn the_vote_page_stays_small() {
    let page = vote(&poll(PollState::Open)).unwrap();
    let names = ["vote.js", "paredao.css", "anton.woff2", "favicon.svg"];
    let files: usize = VOTE_MODULES
        .iter()
        .chain(&names)
        .map(|name| sent(name).len())
        .sum();
    assert!(
        page.len() + files <= 48 * 1024,
        "{} bytes",
        page.len() + files
    );
}

/// Modules that a module imports, itself and by way of others.
fn imports(module: &str, found: &mut Vec<String>) {
    let asset = assets::find(module).unwrap().asset;
    let source = String::from_utf8_lossy(&asset.representation(None).bytes);
    for rest in source.split(" from \"./").skip(1) {
        let name = rest.split('"').next().unwrap().to_owned();
        if !found.contains(&name) {
            found.push(name.clone());
            imports(&name, found);
        }
    }
}

/// A module that is imported but not announced costs voters a round trip; one announced in vain
/// costs them bytes.
#[test]
fn announced_modules_are_those_imported() {
    let pages = [
        ("vote.js", &VOTE_MODULES[..]),
        ("results.js", &RESULTS_MODULES[..]),
    ];
    for (entry, announced) in pages {
        let mut found = Vec::new();
        imports(entry, &mut found);
        found.sort_unstable();
        assert_eq!(found, announced, "{entry}");
    }
}

#[test]
fn the_page_names_the_clock_and_the_end_it_counts_down_to() {
    let page = vote(&poll(PollState::Open)).unwrap();
    assert_eq!(
        attribute(&page, "data-agora"),
        [NOW.rfc3339(UtcOffset::BRASILIA)]
    );
    assert_eq!(
        attribute(&page, "data-encerra-em"),
        [NOW.plus(3_600_000).rfc3339(UtcOffset::BRASILIA)]
    );
    let mut endless = poll(PollState::Open);
    endless.closes_at = None;
    assert!(attribute(&vote(&endless).unwrap(), "data-encerra-em").is_empty());
}

#[test]
fn a_demonstration_says_so_on_both_pages() {
    let mut demo = poll(PollState::Open);
    assert!(!vote(&demo).unwrap().contains("Demonstração"));
    demo.occasion = Occasion::Demonstration;
    assert!(vote(&demo).unwrap().contains("Demonstração"));
    assert!(results(&demo).unwrap().contains("Demonstração"));
}

#[test]
fn without_a_poll_the_operator_learns_what_to_do_next() {
    let page = no_poll().unwrap();
    for command in [
        "paredao poll create",
        "paredao poll open",
        "paredao serve --demo",
    ] {
        assert!(page.contains(command), "{command}");
    }
}
