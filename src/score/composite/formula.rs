//! Formulas over score columns: read once, computed column by column.

use crate::error::unknown;

/// What a formula may be called by, with the number of arguments: `(name, least, most)`.
const FUNCTIONS: [(&str, usize, usize); 8] =
    [("rank", 1, 1), ("z", 1, 1), ("log", 1, 1), ("exp", 1, 1), ("abs", 1, 1), ("min", 2, 16), ("max", 2, 16), ("clip", 3, 3)];
/// Longest formula in bytes, and deepest nesting: a formula is read by recursion.
const MOST_BYTES: usize = 4096;
const DEEPEST: usize = 64;

/// A formula over named columns: `rank(loss) + 0.5 * max(z(entropy), 0)`.
///
/// Numbers, names of columns (letters, digits, `_`, and dots after the first character), `+ - * /`, `^` (binds tightest, to the right; `-a^2` is
/// `-(a^2)`), parentheses, and the functions `rank` (0..=1 among the present, mid-ranks for ties), `z` (minus the mean, by the population standard deviation), `log` (natural), `exp`, `abs`,
/// `min`, `max` (two or more arguments), `clip(x, low, high)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    root: Node,
    names: Vec<String>,
}

/// What cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaError {
    /// Byte offset in the formula.
    pub at: usize,
    /// What was found and what would be right.
    pub message: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    /// Index into the names.
    Column(usize),
    Negated(Box<Node>),
    Binary(char, Box<Node>, Box<Node>),
    Call(&'static str, Vec<Node>),
}

impl Formula {
    /// Reads a formula.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        if text.len() > MOST_BYTES {
            return Err(FormulaError { at: 0, message: format!("expected at most {MOST_BYTES} bytes, found {}", text.len()) });
        }
        let mut reader = Reader { text, at: 0, depth: 0, names: Vec::new() };
        let root = reader.sum()?;
        match reader.peek() {
            None => Ok(Self { root, names: reader.names }),
            Some(found) => Err(reader.wrong(format!("expected an operator or the end, found `{found}`"))),
        }
    }

    /// The columns it names, in the order of their first appearance.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The formula of each row. `columns` belong to [`Formula::names`], are of one length, and hold NaN where a number is absent; NaN comes out where
    /// an operand is absent or the result is not a finite number.
    pub fn evaluate(&self, columns: &[Vec<f64>]) -> Vec<f64> {
        let rows = columns.first().map_or(0, Vec::len);
        let mut result = evaluate(&self.root, columns, rows);
        result.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = f64::NAN);
        result
    }
}

fn evaluate(node: &Node, columns: &[Vec<f64>], rows: usize) -> Vec<f64> {
    let each = |mut values: Vec<f64>, of: &dyn Fn(f64) -> f64| {
        values.iter_mut().for_each(|v| *v = of(*v));
        values
    };
    match node {
        Node::Number(value) => vec![*value; rows],
        Node::Column(k) => columns.get(*k).cloned().unwrap_or_else(|| vec![f64::NAN; rows]),
        Node::Negated(of) => each(evaluate(of, columns, rows), &|v| -v),
        Node::Binary(operator, left, right) => {
            let of = |a: f64, b: f64| match operator {
                '+' => a + b,
                '-' => a - b,
                '*' => a * b,
                '/' => a / b,
                // In floating point NaN^0 and 1^NaN are 1: an absent operand stays absent.
                _ if a.is_nan() || b.is_nan() => f64::NAN,
                _ => a.powf(b),
            };
            let (mut left, right) = (evaluate(left, columns, rows), evaluate(right, columns, rows));
            left.iter_mut().zip(right).for_each(|(a, b)| *a = of(*a, b));
            left
        }
        Node::Call(name, arguments) => {
            let mut arguments = arguments.iter().map(|argument| evaluate(argument, columns, rows));
            let first = arguments.next().unwrap_or_default();
            // `f64::min` and `max` ignore NaN.
            let fold = |first: Vec<f64>, rest: &mut dyn Iterator<Item = Vec<f64>>, of: &dyn Fn(f64, f64) -> f64| {
                rest.fold(first, |mut all, next| {
                    all.iter_mut().zip(next).for_each(|(a, b)| *a = if a.is_nan() || b.is_nan() { f64::NAN } else { of(*a, b) });
                    all
                })
            };
            match *name {
                "rank" => rank01(&first),
                "z" => standardised(first),
                "log" => each(first, &f64::ln),
                "exp" => each(first, &f64::exp),
                "abs" => each(first, &f64::abs),
                "min" => fold(first, &mut arguments, &f64::min),
                "max" => fold(first, &mut arguments, &f64::max),
                // Not `f64::clamp`, which panics where the bounds are the wrong way round; the upper one wins.
                _ => {
                    let above = fold(first, &mut arguments.by_ref().take(1), &f64::max);
                    fold(above, &mut arguments, &f64::min)
                }
            }
        }
    }
}

/// Mid-ranks among the finite numbers, scaled to `0..=1`; NaN elsewhere. A single one has 0.5.
pub(super) fn rank01(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).filter(|&i| values[i].is_finite()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![f64::NAN; values.len()];
    let last = order.len().saturating_sub(1) as f64;
    let mut from = 0;
    for tie in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let middle = from as f64 + (tie.len() - 1) as f64 / 2.0;
        tie.iter().for_each(|&i| ranks[i] = if last == 0.0 { 0.5 } else { middle / last });
        from += tie.len();
    }
    ranks
}

/// `(v - mean) / standard deviation` over the finite numbers, 0 where all are equal; NaN elsewhere.
fn standardised(mut values: Vec<f64>) -> Vec<f64> {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let n = finite.len().max(1) as f64;
    let mean = finite.iter().sum::<f64>() / n;
    let deviation = (finite.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    for v in &mut values {
        *v = if !v.is_finite() {
            f64::NAN
        } else if deviation > 0.0 {
            (*v - mean) / deviation
        } else {
            0.0
        };
    }
    values
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    names: Vec<String>,
}

impl<'a> Reader<'a> {
    fn wrong(&self, message: String) -> FormulaError {
        FormulaError { at: self.at, message }
    }
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }
    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }
    fn expect(&mut self, wanted: char) -> Result<(), FormulaError> {
        if self.take(wanted) {
            return Ok(());
        }
        let found = self.peek().map_or_else(|| "the end".to_owned(), |c| format!("`{c}`"));
        Err(self.wrong(format!("expected `{wanted}`, found {found}")))
    }
    /// What `of` picks from here on.
    fn run(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let taken = &rest[..rest.find(|c| !of(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn sum(&mut self) -> Result<Node, FormulaError> {
        self.chain(['+', '-'], Self::product)
    }
    fn product(&mut self) -> Result<Node, FormulaError> {
        self.chain(['*', '/'], Self::negated)
    }
    /// `a - b - c` is `(a - b) - c`.
    fn chain(&mut self, operators: [char; 2], part: fn(&mut Self) -> Result<Node, FormulaError>) -> Result<Node, FormulaError> {
        let outer = self.depth;
        let mut left = part(self)?;
        while let Some(operator) = operators.into_iter().find(|operator| self.take(*operator)) {
            // A long chain is a deep tree, too: it is computed by recursion.
            self.deeper()?;
            left = Node::Binary(operator, Box::new(left), Box::new(part(self)?));
        }
        self.depth = outer;
        Ok(left)
    }
    fn deeper(&mut self) -> Result<(), FormulaError> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(self.wrong(format!("the formula is nested deeper than {DEEPEST}"))) } else { Ok(()) }
    }
    fn negated(&mut self) -> Result<Node, FormulaError> {
        if !self.take('-') {
            return self.power();
        }
        self.deeper()?;
        let node = Node::Negated(Box::new(self.negated()?));
        self.depth -= 1;
        Ok(node)
    }
    fn power(&mut self) -> Result<Node, FormulaError> {
        let base = self.atom()?;
        if !self.take('^') {
            return Ok(base);
        }
        self.deeper()?;
        let node = Node::Binary('^', Box::new(base), Box::new(self.negated()?));
        self.depth -= 1;
        Ok(node)
    }
    fn atom(&mut self) -> Result<Node, FormulaError> {
        self.deeper()?;
        let node = match self.peek() {
            Some('(') => {
                self.expect('(')?;
                let inner = self.sum()?;
                self.expect(')')?;
                inner
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number()?,
            Some(c) if c.is_alphabetic() || c == '_' => self.name()?,
            Some(c) => return Err(self.wrong(format!("expected a number, a column, a function or `(`, found `{c}`"))),
            None => return Err(self.wrong("expected a number, a column, a function or `(`, found the end".to_owned())),
        };
        self.depth -= 1;
        Ok(node)
    }
    fn number(&mut self) -> Result<Node, FormulaError> {
        let from = self.at;
        self.run(|c| c.is_ascii_digit() || c == '.');
        let behind = &self.text[self.at..];
        if behind.starts_with(['e', 'E']) {
            let sign = usize::from(behind[1..].starts_with(['+', '-']));
            if behind[1 + sign..].starts_with(|c: char| c.is_ascii_digit()) {
                self.at += 1 + sign;
                self.run(|c| c.is_ascii_digit());
            }
        }
        let written = &self.text[from..self.at];
        match written.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Node::Number(value)),
            _ => Err(FormulaError { at: from, message: format!("expected a number, found `{written}`") }),
        }
    }
    fn name(&mut self) -> Result<Node, FormulaError> {
        let from = self.at;
        let name = self.run(|c| c.is_alphanumeric() || c == '_' || c == '.');
        if self.peek() != Some('(') {
            let place = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
                self.names.push(name.to_owned());
                self.names.len() - 1
            });
            return Ok(Node::Column(place));
        }
        let Some(&(function, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            return Err(FormulaError { at: from, message: unknown("function", name, FUNCTIONS.iter().map(|(known, ..)| *known)) });
        };
        self.expect('(')?;
        let mut arguments = vec![self.sum()?];
        while self.take(',') {
            arguments.push(self.sum()?);
        }
        self.expect(')')?;
        if !(least..=most).contains(&arguments.len()) {
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let message =
                format!("`{function}` takes {wanted} argument{}, found {}", if wanted == "1" { "" } else { "s" }, arguments.len());
            return Err(FormulaError { at: from, message });
        }
        Ok(Node::Call(function, arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str, columns: &[f64]) -> f64 {
        let columns: Vec<Vec<f64>> = columns.iter().map(|v| vec![*v]).collect();
        // A formula without a column has no rows to compute: give it one.
        let formula = Formula::parse(text).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        if formula.names.is_empty() { formula.evaluate(&[vec![0.0]])[0] } else { formula.evaluate(&columns)[0] }
    }

    #[test]
    fn operators_bind_as_in_mathematics() {
        assert_eq!(one("1 + 2 * 3 ^ 2", &[]), 19.0);
        assert_eq!(one("2 ^ 3 ^ 2", &[]), 512.0);
        assert_eq!(one("-2 ^ 2", &[]), -4.0);
        assert_eq!(one("2 ^ -1", &[]), 0.5);
        assert_eq!(one("8 - 3 - 2", &[]), 3.0);
        assert_eq!(one("(1+2)*-3", &[]), -9.0);
        assert_eq!(one("12 / 3 / 2e0", &[]), 2.0);
        assert_eq!(one("a*b + score.loss", &[2.0, 3.0, 0.5]), 6.5);
        assert!((one("log(exp(a)) + abs(-1) + min(a, 2, 5) + max(1, a) + clip(a, 0, 1)", &[3.0]) - 10.0).abs() < 1e-12);
        assert_eq!(one("clip(5, 3, 1)", &[]), 1.0);
    }

    #[test]
    fn columns_are_ranked_and_standardised_among_the_present() {
        let formula = Formula::parse("rank(a) + z(a)").unwrap();
        let found = formula.evaluate(&[vec![1.0, f64::NAN, 3.0, 3.0, 5.0]]);
        let deviation = 2f64.sqrt();
        let right = [-2.0 / deviation, f64::NAN, 0.5, 0.5, 1.0 + 2.0 / deviation];
        assert!(found.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-12 || a.is_nan() && b.is_nan()), "{found:?}");
        assert_eq!(Formula::parse("z(a)").unwrap().evaluate(&[vec![7.0, 7.0]]), [0.0, 0.0]);
        assert_eq!(Formula::parse("rank(a)").unwrap().evaluate(&[vec![7.0]]), [0.5]);
    }

    #[test]
    fn what_is_absent_or_no_number_stays_absent() {
        for text in ["a ^ 0", "1 ^ a", "min(a, 1)", "max(1, a)", "clip(a, 0, 1)", "clip(1, 0, a)", "0 * a", "rank(a)", "z(a)"] {
            assert!(one(text, &[f64::NAN]).is_nan(), "{text}");
        }
        for text in ["1 / (a - a)", "log(-a)", "log(a - a)", "exp(1000 * a)", "(-a) ^ 0.5"] {
            assert!(one(text, &[1.0]).is_nan(), "{text}");
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        let wrong = |text: &str| Formula::parse(text).map_err(|e| (e.at, e.message)).unwrap_err();
        assert_eq!(wrong("1 + "), (4, "expected a number, a column, a function or `(`, found the end".into()));
        assert_eq!(wrong("1 + )"), (4, "expected a number, a column, a function or `(`, found `)`".into()));
        assert_eq!(wrong("(a"), (2, "expected `)`, found the end".into()));
        assert_eq!(wrong("a b"), (2, "expected an operator or the end, found `b`".into()));
        assert_eq!(wrong("clip(a, 1)"), (0, "`clip` takes 3 arguments, found 2".into()));
        assert_eq!(wrong("z(a, b)"), (0, "`z` takes 1 argument, found 2".into()));
        assert_eq!(wrong("1 + 1.2.3"), (4, "expected a number, found `1.2.3`".into()));
        let (at, message) = wrong("2 * rnak(a)");
        assert!(at == 4 && message.starts_with("unknown function `rnak` (did you mean `rank`?)"), "{message}");
        assert!(wrong(&"(".repeat(4000)).1.contains("deeper"));
        assert!(wrong(&"-".repeat(4000)).1.contains("deeper"));
        assert!(wrong(&"1+".repeat(2000)).1.contains("deeper"));
        assert!(wrong(&"1".repeat(5000)).1.contains("at most 4096"));
        assert!(wrong("").1.contains("found the end"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_in_place(text in ".{0,60}") {
            if let Err(error) = Formula::parse(&text) {
                prop_assert!(text.is_char_boundary(error.at));
            }
        }
        #[test]
        fn any_mixture_of_its_own_words_computes(parts in prop::collection::vec(prop::sample::select(vec!["a", "b.c", "1", ".5", "2e3", "+", "-", "*", "/", "^", "(", ")", ",", "rank(", "min(", "clip(", " "]), 0..24)) {
            let text = parts.concat();
            if let Ok(formula) = Formula::parse(&text) {
                let columns: Vec<Vec<f64>> = formula.names().iter().map(|_| vec![0.3, -2.0, f64::NAN]).collect();
                prop_assert!(formula.evaluate(&columns).iter().all(|v| v.is_nan() || v.is_finite()));
            }
        }
    }
}
