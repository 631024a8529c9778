//! The private servers for real: one boot of each, and everything that can be asked of them.

use std::time::Duration;

use loyalty_local::{Durability, Servers};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test(flavor = "multi_thread")]
async fn both_servers_keep_their_data_through_a_restart_and_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let t = std::time::Instant::now();
    let servers = Servers::start(dir.path(), Durability::Throwaway).await.unwrap();
    eprintln!("start {:?}", t.elapsed());
    let t = std::time::Instant::now();
    servers.postgres.create_database("one").await.unwrap();
    servers.rabbitmq.create_vhost("t/1").await.unwrap();
    eprintln!("create {:?}", t.elapsed());
    let t = std::time::Instant::now();
    servers.postgres.restart().await.unwrap();
    eprintln!("pg restart {:?}", t.elapsed());
    let t = std::time::Instant::now();
    servers.postgres.kill().await;
    servers.postgres.start_again().await.unwrap();
    eprintln!("pg kill+start {:?}", t.elapsed());
    let t = std::time::Instant::now();
    servers.rabbitmq.restart().await.unwrap();
    eprintln!("rabbit restart {:?}", t.elapsed());
    let t = std::time::Instant::now();
    servers.rabbitmq.kill().await;
    servers.rabbitmq.start_again().await.unwrap();
    eprintln!("rabbit kill+start {:?}", t.elapsed());
    let t = std::time::Instant::now();
    servers.rabbitmq.delete_vhost("t/1").await.unwrap();
    servers.stop().await;
    eprintln!("stop {:?}", t.elapsed());
    let _ = (
        Duration::ZERO,
        TcpStream::connect("127.0.0.1:1").await.map(|mut s| async move {
            s.write_all(b"").await.unwrap();
            s.read_u8().await
        }),
    );
}
