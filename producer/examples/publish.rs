//! Gives a member 50 points: `cargo run -p loyalty-producer --example publish -- amqp://127.0.0.1/%2f 123`

use loyalty_producer::{Command, Earn, Limits, Points, Producer, SecretUrl};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(member)) = (arguments.next(), arguments.next()) else {
        return Err("usage: publish AMQP_URL MEMBER".into());
    };
    let producer = Producer::connect(SecretUrl::parse(&url)?, "example", Limits::default()).await?;

    let mut purchase = Command::new(member.parse()?, Earn { points: Points::try_new(50)? });
    purchase.reason = Some("order 991".parse()?);
    producer.publish(&purchase).await?;

    println!("command {} is safe in the queue", purchase.command_id);
    Ok(())
}
