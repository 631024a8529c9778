//! The proxy in front of a server that echoes.

use std::{net::SocketAddr, time::Duration};

use loyalty_local::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Over loopback an echo takes microseconds; this is for a machine that does other things as well.
const ECHO_LIMIT: Duration = Duration::from_secs(10);

/// Long enough to tell silence from an echo that is on its way.
const SILENCE: Duration = Duration::from_millis(200);

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

async fn echo(client: &mut TcpStream, text: &str) -> std::io::Result<String> {
    client.write_all(text.as_bytes()).await?;
    read(client, text.len()).await
}

async fn read(client: &mut TcpStream, length: usize) -> std::io::Result<String> {
    let mut answer = vec![0; length];
    timeout(ECHO_LIMIT, client.read_exact(&mut answer)).await.expect("an echo")?;
    Ok(String::from_utf8(answer).unwrap())
}

#[tokio::test]
async fn bytes_pass_and_an_end_passes_too() {
    let proxy = Proxy::start(echo_server().await).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(echo(&mut client, "hello").await.unwrap(), "hello");
    client.shutdown().await.unwrap();
    assert_eq!(timeout(ECHO_LIMIT, client.read(&mut [0])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_frozen_proxy_holds_back_and_loses_nothing() {
    let proxy = Proxy::start(echo_server().await).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    echo(&mut client, "before").await.unwrap();
    proxy.freeze_upstream();
    client.write_all(b"held back").await.unwrap();
    timeout(SILENCE, client.peek(&mut [0])).await.expect_err("nothing comes back");
    proxy.thaw();
    assert_eq!(read(&mut client, 9).await.unwrap(), "held back");
}

#[tokio::test]
async fn a_cut_drops_the_connections_of_now_and_not_of_later() {
    let proxy = Proxy::start(echo_server().await).await.unwrap();
    let mut first = TcpStream::connect(proxy.addr()).await.unwrap();
    echo(&mut first, "up").await.unwrap();
    proxy.cut();
    echo(&mut first, "down").await.unwrap_err();
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(echo(&mut second, "up again").await.unwrap(), "up again");
}

#[tokio::test]
async fn a_refusing_proxy_keeps_the_connections_it_has() {
    let proxy = Proxy::start(echo_server().await).await.unwrap();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    echo(&mut client, "up").await.unwrap();
    proxy.refuse().await.unwrap();
    assert!(TcpStream::connect(proxy.addr()).await.is_err());
    assert_eq!(echo(&mut client, "still up").await.unwrap(), "still up");
    proxy.accept().await.unwrap();
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(echo(&mut second, "up").await.unwrap(), "up");
}
