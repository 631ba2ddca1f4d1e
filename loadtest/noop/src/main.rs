//! The yardstick of the benchmark: what bare actix-web does with the same request.
//!
//! Takes the vote's POST, reads its body to the end, looks at nothing, stores nothing, and
//! answers `200` with a JSON body of a given length. Whatever the real program is slower than
//! this is the price of counting.

use std::net::SocketAddr;

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use clap::Parser;

/// Bare actix-web that reads a vote and answers as many bytes as the real program.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address to listen on; loopback unless you know better
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Worker threads; the benchmark gives the real program as many
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Length of the answer's body in bytes; the default is a real vote's for two candidates
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(16..=8192))]
    answer_bytes: u16,
}

/// A JSON object of exactly `length` bytes (at least 16, as the command line enforces).
fn filler(length: usize) -> Bytes {
    let (head, tail) = (r#"{"recibo":""#, r#""}"#);
    let middle = "x".repeat(length.saturating_sub(head.len() + tail.len()));
    Bytes::from([head, &middle, tail].concat())
}

async fn vote(_body: Bytes, answer: web::Data<Bytes>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(Bytes::clone(&answer))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let answer = web::Data::new(filler(usize::from(options.answer_bytes)));
    let app = move || {
        App::new()
            .app_data(answer.clone())
            .route("/votar", web::post().to(vote))
            .route("/ready", web::get().to(HttpResponse::Ok))
    };
    HttpServer::new(app)
        .workers(usize::from(options.workers))
        .bind(options.listen)?
        .run()
        .await
}

#[cfg(test)]
mod tests {
    use actix_web::test;

    use super::*;

    #[test]
    async fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    async fn the_answer_is_json_of_the_length_asked_for() {
        for length in [16, 180, 8192] {
            let body = filler(length);
            assert_eq!(body.len(), length);
            assert!(body.starts_with(b"{\"recibo\":\"") && body.ends_with(b"\"}"));
        }
    }

    #[test]
    async fn a_vote_is_read_and_answered() {
        let answer = web::Data::new(filler(100));
        let app = App::new()
            .app_data(answer)
            .route("/votar", web::post().to(vote));
        let service = test::init_service(app).await;
        let request = test::TestRequest::post()
            .uri("/votar")
            .set_payload(r#"{"voto":1}"#)
            .to_request();
        let body = test::call_and_read_body(&service, request).await;
        assert_eq!(body.len(), 100);
    }
}
