//! What configurations are taken, and how others are refused.

use super::*;

fn error(text: &str) -> String {
    Config::parse(text, "config.yaml").unwrap_err().to_string()
}

#[test]
fn an_absent_or_empty_file_means_the_defaults() {
    let none = Config::read(Path::new("/nonexistent/x.yaml"), false);
    assert_eq!(none.unwrap(), Config::default());
    assert!(Config::read(Path::new("/nonexistent/x.yaml"), true).is_err());
    for text in ["", "\n", "# nothing\n\n#\n"] {
        assert_eq!(
            Config::parse(text, "c").unwrap(),
            Config::default(),
            "{text:?}"
        );
    }
}

#[test]
fn keys_that_are_set_win_and_the_others_keep_their_defaults() {
    let text = "mode: enforce\nlisten: none\nsources:\n  \
                kmsg: { accept_userspace: true }\n  \
                file:\n    paths:\n      \
                - { glob: /var/log/mcelog, machine_checks: true }\n";
    let config = Config::parse(text, "c").unwrap();
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(config.listen, Listen(None));
    assert!(config.sources.kmsg.accept_userspace);
    assert!(config.sources.kmsg.enabled);
    assert!(config.sources.file.paths[0].machine_checks);
    assert!(!config.sources.file.paths[0].kernel);
    assert_eq!(config.state_dir, Config::default().state_dir);
}

#[test]
fn a_mistyped_key_gets_its_place_and_a_suggestion() {
    let text = error("mode: report\nstat_dir: /tmp\n");
    assert!(text.starts_with("config.yaml:2:1: "), "{text}");
    assert!(text.contains("did you mean `state_dir`?"), "{text}");
    assert!(text.contains("| stat_dir: /tmp"), "{text}");
    let text = error("sources:\n  kmsg: { enable: true }\n");
    assert!(text.starts_with("config.yaml:2:"), "{text}");
    assert!(text.contains("did you mean `enabled`?"), "{text}");
}

#[test]
fn a_password_where_none_belongs_is_not_repeated() {
    for (line, shown) in [
        ("{ ipmi: { password: hunter2 } }", "{ ipmi: { password:"),
        ("{ ipmi: { bmc_key: 0011aabb } }", "{ ipmi: { bmc_key:"),
    ] {
        let text = error(&format!("sources: {line}\n"));
        assert!(text.contains("unknown key"), "{text}");
        assert!(text.contains(shown), "{text}");
        let secret = text.contains("hunter2") || text.contains("0011");
        assert!(!secret, "{text}");
    }
}

#[test]
fn a_mistyped_word_gets_a_suggestion() {
    let text = error("mode: enforced\n");
    assert!(text.contains("did you mean `enforce`?"), "{text}");
    let text = error("log: { level: loud }\n");
    assert!(text.contains("use one of error, warn"), "{text}");
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (text, expected) in [
        ("listen: here\n", "is no address"),
        ("node: a\nstate_dir: var\n", "config.yaml:2:1"),
        ("mode: [report\n", "config.yaml:"),
        ("mode: report\nmode: observe\n", "config.yaml:2:1"),
        ("sources: { journal: { kernel: true } }\n", "count twice"),
        (
            "sources: { file: { paths: [{ glob: /a, kernel: true }] } }\n",
            "count twice",
        ),
        ("- a\n", "config.yaml:1:1"),
        ("sources: { file: { paths: [{ glob: '' }] } }\n", "absolute path"),
        ("sources: { file: { paths: [{ glob: log/a }] } }\n", "absolute path"),
        (
            "sources: { file: { paths: [{ glob: '/log/[ab]' }] } }\n",
            "only `*` and `?` are",
        ),
        ("node: a\nsources:\n# kmsg:\n", "nothing stands below it\n  | sou"),
    ] {
        let message = error(text);
        assert!(message.contains(expected), "{text:?}: {message}");
    }
}

#[test]
fn hostile_files_are_refused_without_harm() {
    let deep = "[".repeat(100_000);
    assert!(Config::parse(&deep, "c").is_err());
    let escape = error("\u{1b}[31m: 1\n");
    assert!(!escape.contains('\u{1b}'), "{escape:?}");
    assert!(Config::read(Path::new("/"), true).is_err());
    assert!(Config::read(Path::new("/dev/zero"), true).is_err());
}
