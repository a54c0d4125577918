//! A table of what moving data between regions costs.

use std::io::Read;
use std::path::Path;

use spotwise_model::Money;
use spotwise_model::egress::Egress;

use super::error::{FilePosition, MarketError, Problem, excerpt};

/// The columns of the table, in any order; others are ignored.
pub const EGRESS_COLUMNS: [&str; 3] = ["from_region", "to_region", "price_usd_per_gb"];

/// Reads prices in dollars per GB (10^9 bytes), one pair of regions per line. The last of
/// several lines for one pair counts.
pub fn read_egress(path: &Path) -> Result<Egress, MarketError> {
    let file = std::fs::File::open(path)
        .map_err(|source| MarketError::Read { path: path.to_owned(), source })?;
    egress(&path.display().to_string(), file)
}

fn egress(name: &str, text: impl Read) -> Result<Egress, MarketError> {
    let mut table = csv::Reader::from_reader(text);
    let malformed = |source| MarketError::Csv { file: name.to_owned(), source };
    let wrong = |place, column, problem| MarketError::Value {
        file: name.to_owned(),
        place,
        column,
        problem,
    };
    let header = table.headers().map_err(malformed)?;
    let mut places = [0; EGRESS_COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(EGRESS_COLUMNS) {
        let found = header.iter().position(|name| name.trim() == column);
        *place =
            found.ok_or_else(|| wrong(FilePosition::Line(1), column, Problem::MissingColumn))?;
    }
    let mut prices = Vec::new();
    for record in table.records() {
        let record = record.map_err(malformed)?;
        let line = FilePosition::Line(record.position().map_or(0, csv::Position::line));
        let [from, to, price] = places.map(|at| record.get(at).unwrap_or_default().trim());
        for (column, region) in [("from_region", from), ("to_region", to)] {
            if region.is_empty() {
                let problem = Problem::NotName { text: excerpt(region) };
                return Err(wrong(line, column, problem));
            }
        }
        let price: Money = price.parse().map_err(|_| {
            let problem = Problem::NotPricePerGb { text: excerpt(price) };
            wrong(line, "price_usd_per_gb", problem)
        })?;
        prices.push((from.to_owned(), to.to_owned(), price));
    }
    if prices.is_empty() {
        return Err(MarketError::Empty { file: name.to_owned(), detail: "" });
    }
    Ok(Egress::of(prices))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::recorded;

    const GB: u64 = 1_000_000_000;

    fn read(text: &str) -> Result<Egress, String> {
        egress("e.csv", text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_is_read_by_the_names_of_its_columns() {
        let text = "price_usd_per_gb,note,to_region,from_region\n0.08,x,us-east-2,ap-east-2\n";
        let egress = read(text).unwrap();
        let price = |from, to| Money::estimate(egress.dollars(from, to, GB));
        assert_eq!(price("ap-east-2", "us-east-2"), Money::from_micros(80_000));
        assert_eq!(price("us-east-2", "ap-east-2"), Money::from_micros(20_000), "not listed");
    }

    #[test]
    fn mistakes_name_the_line_and_the_column() {
        let head = "from_region,to_region,price_usd_per_gb\n";
        for (text, says) in [
            ("from_region,to_region\na,b\n".to_owned(), "line 1, `price_usd_per_gb`"),
            (format!("{head}a,b,0.02\na,c,-1\n"), "line 3, `price_usd_per_gb`: `-1`"),
            (format!("{head}a,b,\n"), "line 2, `price_usd_per_gb`"),
            (format!("{head},b,0.02\n"), "line 2, `from_region`"),
            (head.to_owned(), "has no rows"),
        ] {
            let message = read(&text).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn the_catalogues_table_is_read_whole() {
        let Some(path) = recorded("catalog/aws_egress_pricing.csv") else { return };
        let egress = read_egress(&path).unwrap();
        assert_eq!(Money::estimate(egress.dollars("us-east-1", "us-east-1", GB)), Money::ZERO);
        let dear = egress.dollars("ap-east-2", "us-east-2", GB);
        assert_eq!(Money::estimate(dear), Money::from_micros(80_000));
    }
}
