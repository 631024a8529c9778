//! `loyalty dev`: everything on this machine in one process, for trying and developing.
//!
//! The servers are private ones unless the environment names others. Their data stays; nothing else does.

mod environment;

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::Request;
use loyalty_bridge::{AuthMode, BridgeSettings, Hosts};
use loyalty_store::clock::Clock;
use loyalty_worker::mail::MailSettings;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::auth_flags::AuthFlags;
use crate::bridge::{DEFAULT_ADDRESS, Names};
use crate::exit::{ExitStatus, Usage};
use crate::http_client::HttpClient;
use crate::output;
use crate::settings::Settings;
use crate::settings::config::Config;
use crate::settings::running_dev::{Lock, RunningDev};
use crate::shutdown_signal::stop_on_signal;
use environment::Environment;

/// Between two questions whether the bridge is ready. It connects within milliseconds.
const READYZ_INTERVAL: Duration = Duration::from_millis(50);

/// What is read of its answer, which lists what is missing in some hundred bytes.
const READYZ_BYTES: usize = 16 * 1024;

/// Start everything on this machine: servers, worker, bridge and a mailbox
///
/// A private PostgreSQL and RabbitMQ on free ports, with random passwords and their data in .loyalty (--data), made
/// ready; a worker and the HTTP bridge; and a mailbox that writes each email to .loyalty/mail. Says where everything is
/// and then `ready http://...`; from then on every other command, in this directory or one below, finds the servers.
/// Ctrl-C stops everything. The data stays, and the next start goes on with it.
///
/// With LOYALTY_AMQP_URL and LOYALTY_DATABASE_URL set it uses those servers instead, and with LOYALTY_SMTP_URL that
/// mail server instead of the mailbox.
///
/// The bridge needs no token here, so it listens on this machine only, unless --open says otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  loyalty dev
and in the next terminal:
  curl -X POST http://127.0.0.1:5000/ann
  curl -X POST http://127.0.0.1:5000/ann/add_points/1200
  cat .loyalty/mail/*.eml")]
pub(crate) struct Dev {
    /// Where the bridge listens; by default 127.0.0.1:5000, or a free port if that one is taken
    #[arg(long, value_name = "ADDRESS", env = "LOYALTY_HTTP")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    auth: AuthFlags,
    #[command(flatten)]
    names: Names,
}

impl Dev {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitStatus> {
        let stop = stop_on_signal()?;
        let config = context.settings.config()?;
        check(&context.settings, &config)?;
        let lock = Lock::take(context.settings.data())?;
        if let Some(address) = self.http.filter(|address| !self.auth.allows(*address)) {
            return Err(open_to_all(address).into());
        }
        let listener = self.listen().await?;
        say("Starting ...");
        let opening = Environment::open(&context.settings, &config);
        let Some(environment) = stop.run_until_cancelled(opening).await else {
            return Ok(ExitStatus::Success);
        };
        let environment = environment?;
        let result = serve(&environment, config, (listener, self.names.hosts()), &lock, &stop).await;
        say("Stopping ...");
        // Nobody should find servers that are about to go.
        drop(lock);
        environment.close().await;
        result.map(|()| ExitStatus::Success)
    }

    /// The address that was given, or the default one, or a free port beside it.
    async fn listen(&self) -> anyhow::Result<TcpListener> {
        if let Some(address) = self.http {
            return TcpListener::bind(address).await.with_context(|| format!("could not listen on {address}"));
        }
        match TcpListener::bind(DEFAULT_ADDRESS).await {
            Ok(listener) => Ok(listener),
            Err(error) => {
                say(&format!("{DEFAULT_ADDRESS} cannot be used ({error}): taking a free port"));
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("could not listen on any port of 127.0.0.1")
            }
        }
    }
}

/// Starting the servers takes seconds; what is wrong with the settings is told before.
fn check(settings: &Settings, config: &Config) -> anyhow::Result<()> {
    let smtp = settings.given_smtp()?.or_else(|| config.mail.smtp.clone());
    Ok(MailSettings { smtp, ..config.mail.clone() }.check()?)
}

fn open_to_all(address: SocketAddr) -> Usage {
    Usage(format!(
        "{address} can be reached from other machines, and `loyalty dev` serves whoever comes.\n\
         Listen on 127.0.0.1, or give --open if that is meant"
    ))
}

/// Runs worker and bridge until `stop`, or until something ends that should not.
async fn serve(
    environment: &Environment,
    config: Config,
    (listener, hosts): (TcpListener, Hosts),
    lock: &Lock,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    let running = running(environment, address);
    let mut registry = Registry::default();
    let (worker_metrics, bridge_metrics) =
        (loyalty_worker::Metrics::new(&mut registry), loyalty_bridge::Metrics::new(&mut registry));
    let (consuming, consumes) = watch::channel(false);
    let worker = loyalty_worker::run(worker_settings(environment, config), worker_metrics, consuming, stop.clone());
    let bridge = loyalty_bridge::serve(
        bridge_settings(environment, hosts),
        listener,
        bridge_metrics,
        registry.into(),
        stop.clone(),
    );
    let services = async {
        // Together: when one fails the other is given up, since half of this is of no use.
        tokio::try_join!(async { anyhow::Ok(worker.await?) }, async { anyhow::Ok(bridge.await?) }).map(drop)
    };
    let mut services = std::pin::pin!(services);
    tokio::select! {
        ended = &mut services => ended,
        failed = announce(environment, lock, &running, consumes) => failed,
        lost = environment.ended() => {
            stop.cancel();
            // What they can still finish they finish; the lost server is the error to tell.
            let _ = services.await;
            Err(lost)
        }
    }
}

fn worker_settings(environment: &Environment, config: Config) -> loyalty_worker::Settings {
    let limits = config.limits();
    let mut mail = config.mail;
    mail.smtp.clone_from(&environment.smtp);
    loyalty_worker::Settings {
        amqp: environment.amqp.clone(),
        database: environment.database.clone(),
        programme: config.programme,
        events: config.events,
        mail,
        limits,
    }
}

fn bridge_settings(environment: &Environment, hosts: Hosts) -> BridgeSettings {
    BridgeSettings {
        amqp: environment.amqp.clone(),
        database: environment.database.clone(),
        admission: AuthMode::Anyone,
        hosts,
        limits: loyalty_bridge::Limits::default(),
        clock: Clock::default(),
    }
}

fn running(environment: &Environment, address: SocketAddr) -> RunningDev {
    RunningDev {
        pid: std::process::id(),
        http: format!("http://{address}"),
        amqp_url: environment.amqp.expose().to_owned(),
        management_url: environment.management.as_ref().map(|url| url.expose().to_owned()),
        database_url: environment.database.expose().to_owned(),
        smtp_url: environment.smtp.as_ref().map(|url| url.expose().to_owned()),
    }
}

/// Once commands are being applied and the bridge can take them, says where everything is: to people, and to the other
/// commands. Returns only with an error.
async fn announce(
    environment: &Environment,
    lock: &Lock,
    running: &RunningDev,
    mut consumes: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    if consumes.wait_for(|consumes| *consumes).await.is_err() {
        return pending().await; // The worker has ended, which is told where it ran.
    }
    Box::pin(bridge_is_ready(&running.http)).await?;
    lock.announce(running).context("could not write where the servers are")?;
    for (what, place) in &environment.places {
        say(&format!("{what:<12}{place}"));
    }
    say(&format!("{:<12}{}, with the passwords; the other commands find it", "settings", lock.file().display()));
    say(&format!("{:<12}open: anyone who can reach it may publish and read, without a token", "bridge"));
    say(&format!("ready {}", running.http));
    pending().await
}

/// Waits until the bridge says that it is connected to both servers: the first request must not be the one that finds
/// it on its way there.
async fn bridge_is_ready(address: &str) -> anyhow::Result<()> {
    let client = HttpClient::plain();
    let request = Request::get(format!("{address}/readyz")).body(Full::default()).context("no request")?;
    loop {
        let answer = client.exchange(request.clone(), READYZ_BYTES).await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(READYZ_INTERVAL).await;
    }
}

/// Standard output may be a closed pipe; that is no reason to stop.
fn say(line: &str) {
    let _ = output::say(line);
}
