//! Prints the C header made from this crate: `cargo run -p chainbot-abi --example header > include/alex_module.h`.

fn main() {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = cbindgen::Config::from_file(home.join("cbindgen.toml")).and_then(|config| {
        let builder = cbindgen::Builder::new().with_config(config).with_src(home.join("src/lib.rs"));
        builder.generate().map_err(|error| error.to_string())
    });
    match made {
        Ok(header) => header.write(std::io::stdout()),
        Err(error) => {
            eprintln!("cannot make the header: {error}");
            std::process::exit(1);
        }
    }
}
