//! The names of months in time stamps: rsyslog writes English, `journalctl`
//! and `dmesg -T` the language of whoever called them (`%b` of strftime(3)).
//! Pure.

const ENGLISH: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep",
    b"Oct", b"Nov", b"Dec",
];

/// How other languages' names begin, in small letters: German, French,
/// Spanish, Italian, Portuguese, Dutch, Polish, Swedish, Danish, Norwegian
/// and Russian, as glibc has them.
const OTHERS: [&[&str]; 12] = [
    &["jan", "ene", "gen", "sty", "янв"],
    &["feb", "fév", "fev", "lut", "фев"],
    &["mar", "mär", "mrz", "mrt", "мар"],
    &["apr", "avr", "abr", "kwi", "апр"],
    &["may", "mai", "mag", "mei", "maj", "мая", "май"],
    &["jun", "juin", "giu", "cze", "июн"],
    &["jul", "juil", "lug", "lip", "июл"],
    &["aug", "aoû", "ago", "sie", "авг"],
    &["sep", "set", "wrz", "сен"],
    &["oct", "okt", "ott", "out", "paź", "окт"],
    &["nov", "lis", "ноя"],
    &["dec", "déc", "dez", "dic", "des", "gru", "дек"],
];

/// No name is longer: `сент.` has nine bytes, `10月` five.
const NAME_MAX: usize = 12;

/// The number of the month with this short name.
pub(super) fn month(word: &[u8]) -> Option<i8> {
    let english = ENGLISH.iter().position(|name| *name == word);
    let at = match english {
        Some(at) => at,
        None => other(word)?,
    };
    i8::try_from(at + 1).ok()
}

fn other(word: &[u8]) -> Option<usize> {
    if word.len() > NAME_MAX {
        return None;
    }
    let name = std::str::from_utf8(word).ok()?.to_lowercase();
    // Chinese, Japanese and Korean count them.
    let number = name.strip_suffix('月').or_else(|| name.strip_suffix('월'));
    if let Some(number) = number {
        let number: usize = number.parse().ok()?;
        return (1..=12).contains(&number).then(|| number - 1);
    }
    let letters = name.strip_suffix('.').unwrap_or(&name);
    if !letters.chars().all(char::is_alphabetic) {
        return None;
    }
    let begins = |names: &&[&str]| names.iter().any(|n| letters.starts_with(n));
    OTHERS.iter().position(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_known_in_the_languages_of_those_who_ask() {
        let of = |names: &[&str]| -> Vec<Option<i8>> {
            names.iter().map(|name| month(name.as_bytes())).collect()
        };
        let all: Vec<Option<i8>> = (1..=12).map(Some).collect();
        for names in [
            "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
            "Jan Feb Mär Apr Mai Jun Jul Aug Sep Okt Nov Dez",
            "janv. févr. mars avril mai juin juil. août sept. oct. nov. déc.",
            "ene feb mar abr may jun jul ago sep oct nov dic",
            "gen feb mar apr mag giu lug ago set ott nov dic",
            "jan fev mar abr mai jun jul ago set out nov dez",
            "sty lut mar kwi maj cze lip sie wrz paź lis gru",
            "янв фев мар апр мая июн июл авг сен окт ноя дек",
            "1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",
        ] {
            let names: Vec<&str> = names.split(' ').collect();
            assert_eq!(of(&names), all, "{names:?}");
        }
        let none = ["Mon", "13月", "", "a1", "kernel:", "januaryjanuary"];
        assert_eq!(of(&none), [None; 6]);
    }
}
