//! Units of measurement: names, dimensions and exact factors.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::One;

/// Powers of metre, kilogram, second, ampere, kelvin, bit, radian, cent.
pub type Dimension = [i8; 8];

/// A unit: a product of powers of named units.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Unit {
    /// Canonical names with their powers, sorted.
    pub factors: Vec<(&'static str, i32)>,
}

struct Entry {
    names: &'static [&'static str],
    dimension: Dimension,
    factor: (u64, u64),
}

const fn e(names: &'static [&'static str], dimension: Dimension, n: u64, d: u64) -> Entry {
    Entry { names, dimension, factor: (n, d) }
}

const LENGTH: Dimension = [1, 0, 0, 0, 0, 0, 0, 0];
const AREA: Dimension = [2, 0, 0, 0, 0, 0, 0, 0];
const VOLUME: Dimension = [3, 0, 0, 0, 0, 0, 0, 0];
const MASS: Dimension = [0, 1, 0, 0, 0, 0, 0, 0];
const TIME: Dimension = [0, 0, 1, 0, 0, 0, 0, 0];
const SPEED: Dimension = [1, 0, -1, 0, 0, 0, 0, 0];
const CURRENT: Dimension = [0, 0, 0, 1, 0, 0, 0, 0];
const CHARGE: Dimension = [0, 0, 1, 1, 0, 0, 0, 0];
const TEMPERATURE: Dimension = [0, 0, 0, 0, 1, 0, 0, 0];
const DATA: Dimension = [0, 0, 0, 0, 0, 1, 0, 0];
const ANGLE: Dimension = [0, 0, 0, 0, 0, 0, 1, 0];
const MONEY: Dimension = [0, 0, 0, 0, 0, 0, 0, 1];
const FORCE: Dimension = [1, 1, -2, 0, 0, 0, 0, 0];
const ENERGY: Dimension = [2, 1, -2, 0, 0, 0, 0, 0];
const POWER: Dimension = [2, 1, -3, 0, 0, 0, 0, 0];
const PRESSURE: Dimension = [-1, 1, -2, 0, 0, 0, 0, 0];
const FREQUENCY: Dimension = [0, 0, -1, 0, 0, 0, 0, 0];
const VOLTAGE: Dimension = [2, 1, -3, -1, 0, 0, 0, 0];
const RESISTANCE: Dimension = [2, 1, -3, -2, 0, 0, 0, 0];

/// The first name is the canonical one. Names are matched as written, then in lower case.
const UNITS: &[Entry] = &[
    e(&["m", "meter", "meters", "metre", "metres"], LENGTH, 1, 1),
    e(&["km", "kilometer", "kilometers", "kilometre", "kilometres", "kms"], LENGTH, 1000, 1),
    e(&["cm", "centimeter", "centimeters", "centimetre", "centimetres", "cms"], LENGTH, 1, 100),
    e(&["mm", "millimeter", "millimeters", "millimetre", "millimetres"], LENGTH, 1, 1000),
    e(&["dm", "decimeter", "decimeters", "decimetre", "decimetres"], LENGTH, 1, 10),
    e(&["nm", "nanometer", "nanometers", "nanometre", "nanometres"], LENGTH, 1, 1_000_000_000),
    e(&["µm", "μm", "micrometer", "micrometers", "micron", "microns"], LENGTH, 1, 1_000_000),
    e(&["in", "inch", "inches"], LENGTH, 254, 10_000),
    e(&["ft", "foot", "feet"], LENGTH, 3048, 10_000),
    e(&["yd", "yard", "yards", "yds"], LENGTH, 9144, 10_000),
    e(&["mi", "mile", "miles"], LENGTH, 1_609_344, 1000),
    e(&["ha", "hectare", "hectares"], AREA, 10_000, 1),
    e(&["acre", "acres"], AREA, 40_468_564_224, 10_000_000),
    e(&["L", "l", "liter", "liters", "litre", "litres"], VOLUME, 1, 1000),
    e(&["mL", "ml", "milliliter", "milliliters", "millilitre", "millilitres"], VOLUME, 1, 1_000_000),
    e(&["cc"], VOLUME, 1, 1_000_000),
    e(&["gal", "gallon", "gallons"], VOLUME, 3_785_411_784, 1_000_000_000_000),
    e(&["qt", "quart", "quarts"], VOLUME, 946_352_946, 1_000_000_000_000),
    e(&["pt", "pint", "pints"], VOLUME, 473_176_473, 1_000_000_000_000),
    e(&["cup", "cups"], VOLUME, 473_176_473, 2_000_000_000_000),
    e(&["tbsp", "tablespoon", "tablespoons"], VOLUME, 473_176_473, 32_000_000_000_000),
    e(&["tsp", "teaspoon", "teaspoons"], VOLUME, 473_176_473, 96_000_000_000_000),
    e(&["oz", "ounce", "ounces"], MASS, 28_349_523_125, 1_000_000_000_000),
    e(&["g", "gram", "grams", "gm"], MASS, 1, 1000),
    e(&["kg", "kilogram", "kilograms", "kilo", "kilos", "kgs"], MASS, 1, 1),
    e(&["mg", "milligram", "milligrams"], MASS, 1, 1_000_000),
    e(&["t", "ton", "tons", "tonne", "tonnes"], MASS, 1000, 1),
    e(&["lb", "lbs", "pound", "pounds"], MASS, 45_359_237, 100_000_000),
    e(&["s", "sec", "secs", "second", "seconds"], TIME, 1, 1),
    e(&["ms", "millisecond", "milliseconds"], TIME, 1, 1000),
    e(&["min", "mins", "minute", "minutes"], TIME, 60, 1),
    e(&["h", "hr", "hrs", "hour", "hours"], TIME, 3600, 1),
    e(&["day", "days"], TIME, 86_400, 1),
    e(&["week", "weeks", "wk", "wks"], TIME, 604_800, 1),
    e(&["month", "months"], TIME, 2_629_746, 1),
    e(&["year", "years", "yr", "yrs"], TIME, 31_556_952, 1),
    e(&["mph"], SPEED, 1_609_344, 3_600_000),
    e(&["kph", "kmph"], SPEED, 1000, 3600),
    e(&["A", "amp", "amps", "ampere", "amperes"], CURRENT, 1, 1),
    e(&["coulomb", "coulombs"], CHARGE, 1, 1),
    e(&["K", "kelvin", "kelvins"], TEMPERATURE, 1, 1),
    e(&["°C", "celsius"], [0, 0, 0, 0, 2, 0, 0, 0], 1, 1),
    e(&["°F", "fahrenheit"], [0, 0, 0, 0, 3, 0, 0, 0], 1, 1),
    e(&["bit", "bits"], DATA, 1, 1),
    e(&["byte", "bytes"], DATA, 8, 1),
    e(&["KB", "kb", "kilobyte", "kilobytes"], DATA, 8000, 1),
    e(&["MB", "megabyte", "megabytes"], DATA, 8_000_000, 1),
    e(&["GB", "gigabyte", "gigabytes"], DATA, 8_000_000_000, 1),
    e(&["°", "degree", "degrees", "deg"], ANGLE, 1, 180),
    e(&["rad", "radian", "radians"], ANGLE, 1, 1),
    e(&["¢", "cent", "cents"], MONEY, 1, 100),
    e(&["$", "dollar", "dollars", "usd", "bucks", "buck"], MONEY, 1, 1),
    e(&["€", "euro", "euros", "eur"], MONEY, 1, 1),
    e(&["£", "gbp"], MONEY, 1, 1),
    e(&["¥", "yen", "yuan", "rmb"], MONEY, 1, 1),
    e(&["₹", "rupee", "rupees", "Rs", "rs"], MONEY, 1, 1),
    e(&["N", "newton", "newtons"], FORCE, 1, 1),
    e(&["J", "joule", "joules"], ENERGY, 1, 1),
    e(&["kJ", "kilojoule", "kilojoules"], ENERGY, 1000, 1),
    e(&["cal", "calorie", "calories"], ENERGY, 4184, 1000),
    e(&["eV"], ENERGY, 1, 1),
    e(&["W", "watt", "watts"], POWER, 1, 1),
    e(&["kW", "kilowatt", "kilowatts"], POWER, 1000, 1),
    e(&["Pa", "pascal", "pascals"], PRESSURE, 1, 1),
    e(&["atm", "atmosphere", "atmospheres"], PRESSURE, 101_325, 1),
    e(&["Hz", "hertz"], FREQUENCY, 1, 1),
    e(&["V", "volt", "volts"], VOLTAGE, 1, 1),
    e(&["Ω", "ohm", "ohms"], RESISTANCE, 1, 1),
    e(&["unit", "units"], [0; 8], 1, 1),
    e(&["mol", "mole", "moles"], [0; 8], 1, 1),
];

fn entry(name: &str) -> Option<&'static Entry> {
    UNITS.iter().find(|u| u.names[0] == name)
}

/// The canonical name of a unit, if the word names one.
pub fn canonical(word: &str) -> Option<&'static str> {
    let find = |w: &str| UNITS.iter().find(|u| u.names.contains(&w)).map(|u| u.names[0]);
    find(word).or_else(|| if word.len() > 2 { find(&word.to_ascii_lowercase()) } else { None })
}

/// Whether a canonical name is a currency (cents included).
pub fn is_money(name: &str) -> bool {
    entry(name).is_some_and(|u| u.dimension == MONEY)
}

impl Unit {
    /// The product of named units; factors are merged and sorted.
    pub fn new(factors: impl IntoIterator<Item = (&'static str, i32)>) -> Self {
        let mut merged: Vec<(&'static str, i32)> = Vec::new();
        for (name, power) in factors {
            match merged.iter_mut().find(|(n, _)| *n == name) {
                Some((_, p)) => *p += power,
                None => merged.push((name, power)),
            }
        }
        merged.retain(|(_, p)| *p != 0);
        merged.sort_unstable();
        // Speeds and cubic centimetres have names of their own.
        let expand = |name: &str| match name {
            "mph" => Some(vec![("h", -1), ("mi", 1)]),
            "kph" => Some(vec![("h", -1), ("km", 1)]),
            "cc" => Some(vec![("cm", 3)]),
            _ => None,
        };
        if let [(name, 1)] = merged[..]
            && let Some(parts) = expand(name)
        {
            merged = parts;
        }
        Unit { factors: merged }
    }

    /// Whether this is a plain currency, which is ignored in comparisons; cents are not.
    pub fn is_currency(&self) -> bool {
        matches!(self.factors[..], [(name, 1)] if is_money(name) && name != "¢")
    }

    /// Pounds, of money or of weight: the word does not say which.
    pub fn is_sterling(&self) -> bool {
        matches!(self.factors[..], [("£" | "lb", 1)])
    }

    /// Whether this is only the word "units" (or square or cubic units), which says nothing.
    pub fn is_generic(&self) -> bool {
        self.factors.iter().all(|(name, _)| *name == "unit")
    }

    /// The dimension and the exact factor to the base units.
    pub fn measure(&self) -> (Dimension, BigRational) {
        let mut dimension = [0i8; 8];
        let mut factor = BigRational::one();
        for &(name, power) in &self.factors {
            let Some(u) = entry(name) else { continue };
            for (d, &x) in dimension.iter_mut().zip(&u.dimension) {
                *d = d.saturating_add(x.saturating_mul(power.clamp(-16, 16) as i8));
            }
            let f = BigRational::new(BigInt::from(u.factor.0), BigInt::from(u.factor.1));
            let f = num_traits::pow(f, power.unsigned_abs().min(16) as usize);
            if power < 0 {
                factor /= f;
            } else {
                factor *= f;
            }
        }
        (dimension, factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_factors() {
        assert_eq!(canonical("Centimeters"), Some("cm"));
        assert_eq!(canonical("apples"), None);
        assert_eq!(Unit::new([("mph", 1)]), Unit::new([("mi", 1), ("h", -1)]));
        let (d, f) = Unit::new([("km", 1), ("h", -1)]).measure();
        assert_eq!(d, SPEED);
        assert_eq!(f, BigRational::new(5.into(), 18.into()));
        assert!(Unit::new([("$", 1)]).is_currency() && !Unit::new([("¢", 1)]).is_currency());
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut seen = std::collections::HashSet::new();
        for name in UNITS.iter().flat_map(|u| u.names) {
            assert!(seen.insert(name), "{name}");
        }
    }
}
