//! Emails over TLS, from the first byte and by STARTTLS, to a server that a private authority signed for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use loyalty_worker::mail::SmtpUrl;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::world::World;

#[tokio::test]
async fn an_email_goes_out_over_tls_to_a_server_that_is_believed() {
    for (begins, scheme, ending) in [(Begins::AtOnce, "smtps", ""), (Begins::WhenAsked, "smtp", "?tls=required")] {
        let mut world = World::start().await;
        let house = House::start(world.mailbox.addr(), begins).await;
        world.settings.smtp = Some(house.url(scheme, ending, &house.ours));
        let post = world.post();
        let email_id = world.grant("ann", "ann@example.com").await;
        post.wake.notify_one();
        world.becomes(email_id, "sent").await;
        assert_eq!(world.mailbox.emails().len(), 1, "{scheme}");
        post.stop().await;
    }
}

#[tokio::test]
async fn no_email_goes_to_a_server_that_is_not_believed() {
    let stranger = "the server's certificate is not trusted";
    for (begins, scheme, ending) in [(Begins::AtOnce, "smtps", ""), (Begins::WhenAsked, "smtp", "?tls=opportunistic")] {
        let mut world = World::start().await;
        let house = House::start(world.mailbox.addr(), begins).await;
        world.settings.smtp = Some(house.url(scheme, ending, &house.another));
        let post = world.post();
        let email_id = world.grant("ann", "ann@example.com").await;
        post.wake.notify_one();
        let reply = world.becomes(email_id, "retrying").await.reply.expect("why");
        assert!(reply.contains(stranger), "{reply}");
        assert_eq!(world.mailbox.emails().len(), 0, "{scheme}");
        post.stop().await;
    }
}

/// When TLS begins.
#[derive(Clone, Copy)]
enum Begins {
    AtOnce,
    WhenAsked,
}

/// What speaks TLS before a mailbox that does not, and two authorities, one of which signed for it.
struct House {
    addr: SocketAddr,
    ours: PathBuf,
    another: PathBuf,
    _dir: tempfile::TempDir,
}

impl House {
    async fn start(mailbox: SocketAddr, begins: Begins) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let issuer = authority(dir.path(), "ours");
        authority(dir.path(), "another");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("ring has what is needed").with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.der().clone()], key).expect("they belong together");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), mailbox, begins));
        let file = |name: &str| dir.path().join(name);
        Self { addr, ours: file("ours.pem"), another: file("another.pem"), _dir: dir }
    }

    fn url(&self, scheme: &str, ending: &str, ca: &Path) -> SmtpUrl {
        SmtpUrl::known(format!("{scheme}://localhost:{}{ending}", self.addr.port())).trusting(Some(ca))
    }
}

fn authority(dir: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    std::fs::write(dir.join(name).with_extension("pem"), pem).expect("a file");
    Issuer::new(params, key)
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, mailbox: SocketAddr, begins: Begins) {
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        // Who does not believe us goes away in the middle, as the test has it.
        tokio::spawn(async move { drop(pass_on(stream, tls, mailbox, begins).await) });
    }
}

async fn pass_on(stream: TcpStream, tls: TlsAcceptor, mailbox: SocketAddr, begins: Begins) -> std::io::Result<()> {
    let mut mailbox = BufReader::new(TcpStream::connect(mailbox).await?);
    let stream = match begins {
        Begins::AtOnce => stream,
        Begins::WhenAsked => {
            // After STARTTLS nobody is greeted again.
            mailbox.read_line(&mut String::new()).await?;
            asked(stream).await?
        }
    };
    copy_bidirectional(&mut tls.accept(stream).await?, &mut mailbox).await.map(drop)
}

/// The dialogue until TLS is asked for.
async fn asked(stream: TcpStream) -> std::io::Result<TcpStream> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 localhost\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.starts_with("STARTTLS") {
            stream.write_all(b"220 go on\r\n").await?;
            return Ok(stream.into_inner());
        }
        stream.write_all(b"250-localhost\r\n250 STARTTLS\r\n").await?;
    }
}
