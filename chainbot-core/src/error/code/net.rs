//! CB-06xx: outbound requests and the policy on them.

codes! {
    URL = "CB-0600", Network, "The URL is not allowed";
}
