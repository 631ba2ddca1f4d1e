//! A headless Chromium of a test's own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;

const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

const ARGUMENTS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
];

/// A screen, in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

pub(crate) const PHONE: Screen = Screen {
    width: 360,
    height: 740,
};
pub(crate) const SMALL_PHONE: Screen = Screen {
    width: 320,
    height: 568,
};
pub(crate) const DESKTOP: Screen = Screen {
    width: 1280,
    height: 800,
};

pub(crate) struct Chromium {
    client: Client,
    driver: Driver,
    session: String,
    _profile: TempDir,
}

/// The driver's process; ends with the session and the browser in it.
struct Driver {
    process: Child,
    address: SocketAddr,
}

impl Driver {
    fn start() -> Self {
        let address = free_address();
        let process = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need chromedriver (Debian: chromium-driver)");
        Self { process, address }
    }

    async fn ready(&self) {
        let is_ready = || http::get(self.address, "/status").is_ok_and(|a| a.status == 200);
        eventually("chromedriver answers", is_ready).await;
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Chromium {
    pub(crate) async fn start(screen: Screen) -> Self {
        let driver = Driver::start();
        driver.ready().await;
        let profile = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities(profile.path()))
            .connect(&format!("http://{}", driver.address))
            .await
            .unwrap();
        let session = client.session_id().await.unwrap().unwrap();
        let browser = Self {
            client,
            driver,
            session,
            _profile: profile,
        };
        browser.resize(screen);
        browser
    }

    /// Speaks the browser's own protocol, for what `WebDriver` has no word for.
    pub(crate) fn devtools(&self, method: &str, parameters: &Value) -> Value {
        self.extension(
            "goog/cdp/execute",
            &json!({"cmd": method, "params": parameters}),
        )
    }

    fn extension(&self, name: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{name}", self.session);
        let answer = http::post(self.driver.address, &path, body).unwrap();
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        answer.body["value"].clone()
    }

    pub(crate) fn resize(&self, screen: Screen) {
        let metrics = json!({
            "width": screen.width,
            "height": screen.height,
            "deviceScaleFactor": 2,
            "mobile": screen.width < 600,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub(crate) fn night(&self) {
        let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    pub(crate) fn forbid_scripts(&self) {
        self.devtools(
            "Emulation.setScriptExecutionDisabled",
            &json!({"value": true}),
        );
    }

    pub(crate) async fn visit(&self, server: SocketAddr, path: &str) {
        self.client
            .goto(&format!("http://{server}{path}"))
            .await
            .unwrap();
    }

    pub(crate) async fn script(&self, source: &str) -> Value {
        self.client.execute(source, Vec::new()).await.unwrap()
    }

    pub(crate) async fn async_script(&self, source: &str, argument: Value) -> Value {
        self.client
            .execute_async(source, vec![argument])
            .await
            .unwrap()
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        let element = self.client.find(Locator::Css(css)).await.unwrap();
        element.text().await.unwrap()
    }

    pub(crate) async fn click(&self, css: &str) {
        let element = self.client.find(Locator::Css(css)).await.unwrap();
        element.click().await.unwrap();
    }

    pub(crate) async fn press(&self, key: Key) {
        let value = char::from(key);
        let stroke = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        self.client.perform_actions(stroke).await.unwrap();
    }

    /// Waits until the JavaScript expression is true. While a page is being left for the next
    /// there is nothing to run it in, which is only another reason to wait.
    pub(crate) async fn until(&self, expression: &str) {
        self.until_within(DEADLINE, expression).await;
    }

    /// The same for what takes its time by design.
    pub(crate) async fn until_within(&self, limit: Duration, expression: &str) {
        let source = format!("return Boolean({expression})");
        let start = Instant::now();
        while !self
            .client
            .execute(&source, Vec::new())
            .await
            .is_ok_and(|held| held == true)
        {
            if start.elapsed() > limit {
                let page = self.script("return document.body.innerText").await;
                panic!(
                    "never came true: {expression}\n{}",
                    page.as_str().unwrap_or_default()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the text of the element has the part.
    pub(crate) async fn until_text(&self, css: &str, part: &str) {
        let (css, part) = (Value::from(css), Value::from(part));
        self.until(&format!(
            "document.querySelector({css})?.innerText.includes({part})"
        ))
        .await;
    }

    /// What is on the screen, as `target/screenshots/{name}.png`.
    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let image = self.client.screenshot().await.unwrap();
        std::fs::write(folder.join(format!("{name}.png")), image).unwrap();
    }

    /// Errors and policy violations on the console since the last call.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.extension("se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    /// Asserts that nothing is cut off or has to be scrolled to sideways.
    pub(crate) async fn assert_fits(&self) {
        let excess =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(
            self.script(excess).await,
            0,
            "the page is wider than its screen"
        );
    }
}

impl Drop for Chromium {
    /// Without this the browser would outlive a test that fails.
    fn drop(&mut self) {
        let _ = http::delete(self.driver.address, &format!("/session/{}", self.session));
    }
}

fn capabilities(profile: &Path) -> fantoccini::wd::Capabilities {
    let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
    arguments.push(format!("--user-data-dir={}", profile.display()));
    let wanted = json!({
        "goog:chromeOptions": {"args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    });
    wanted.as_object().unwrap().clone()
}

/// An address nobody listens on at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Waits until the condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(POLL).await;
    }
}
