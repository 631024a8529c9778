use super::*;

type AmqpUrl = SecretUrl<Amqp>;

#[test]
fn the_password_is_hidden() {
    let check = |url: &str, shown: &str| {
        let url = AmqpUrl::parse(url).expect(url);
        assert_eq!((url.to_string().as_str(), format!("{url:?}").as_str()), (shown, shown));
    };
    check("amqp://ann:s3cret@host:5672/shop?heartbeat=10", "amqp://ann:***@host:5672/shop");
    check("amqp://ann:p%40s%25s@host/db", "amqp://ann:***@host/db");
    check("amqp://host", "amqp://host");
    check("amqp://t0ken@host/", "amqp://***@host");
    check("amqp://:s3cret@host/", "amqp://:***@host");
    check("amqps://ann:s3cret@[::1]:5671/%2f", "amqps://ann:***@[::1]:5671/%2f");
}

#[test]
fn a_wrong_url_is_explained_without_a_part_of_it() {
    let check = |url: &str, problem: &str| {
        let error = AmqpUrl::parse(url).expect_err(url).to_string();
        assert_eq!(error, format!("{problem}; it looks like amqp://user:password@host:5672/vhost"));
    };
    let unencoded = Problem::UNENCODED.0;
    check("nonsense", "it is not a URL");
    check("s3cret://host", "it must begin with amqp:// or amqps://");
    check("amqp://", "it names no host");
    check("amqp:s3cret", "it names no host");
    check("amqp://ann:s3/cret@host", "its port is no number, or a character of its password is not encoded");
    check("amqp://ann:12/cret@host", unencoded);
    check("amqp://ann:12?cret@host", unencoded);
    check("amqp://ann:12#cret@host", unencoded);
    check("amqp://ann:p@ss@host/db", unencoded);
    check("amqp://ann@shop:s3cret@host", unencoded);
    for stray in ["s3%ZZcret", "s3cret%", "%2", "100%", "%é0"] {
        check(&format!("amqp://ann:{stray}@host"), "a `%` in a user or password must be percent-encoded (%25)");
    }
    check("amqp://ann:s3%ffcret@host", "its user or password is not UTF-8");
    check("amqp://host/%ff", "its virtual host or what follows the `?` cannot be read");
    check("amqp://host/shop?heartbeat=s3cret", "its virtual host or what follows the `?` cannot be read");
}

#[test]
fn an_ipv6_address_is_where_it_connects_to() {
    let url = AmqpUrl::parse("amqp://[::1]:5672/shop").expect("a URL");
    assert_eq!(url.server().uri().authority.host, "::1");
}

proptest::proptest! {
    /// Whatever surrounds it, the password is in nothing that is shown.
    #[test]
    fn a_password_in_any_place_is_never_shown(
        before in "(amqps?|http)?(:|://)?[a-z:/?#@\\[\\]% ]{0,8}",
        after in "[a-z0-9:/?#@\\[\\]% ]{0,12}",
    ) {
        const PASSWORD: &str = "S3CRT99";
        match AmqpUrl::parse(&format!("{before}{PASSWORD}{after}")) {
            Err(error) => {
                let told = format!("{error} {error:?}");
                proptest::prop_assert!(!told.contains("S3CR"), "{}", told);
            }
            // A host or a virtual host may have any name; a password stands before an `@`.
            Ok(url) if after.contains('@') => proptest::prop_assert!(!url.to_string().contains("S3CR"), "{}", url),
            Ok(_) => {}
        }
    }
}
