//! The wide loops against the plain ones of `kernel`.

use super::*;

fn numbers(n: usize, salt: u64) -> Vec<f32> {
    (0..n as u64).map(|i| ((i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// `batch` matrices transposed.
fn turned(x: &[f32], batch: usize, rows: usize, columns: usize) -> Vec<f32> {
    let at = |i: usize| (i / (rows * columns), i / rows % columns, i % rows);
    (0..batch * rows * columns).map(at).map(|(b, c, r)| x[(b * rows + r) * columns + c]).collect()
}

fn widths() -> Vec<Width> {
    let mut all = vec![Width::Plain];
    #[cfg(target_arch = "x86_64")]
    {
        all.extend(Avx2::available().then_some(Width::Avx2));
        all.extend(Avx512::available().then_some(Width::Avx512));
    }
    all
}

/// `output` from the other sizes, with `end` more padding behind than in front.
fn window(
    channels: (usize, usize),
    groups: usize,
    input: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    end: usize,
) -> Window {
    let pad = [0, 1, 2].map(|a| if kernel[a] > 1 { kernel[a] / 2 } else { 0 });
    let room = |a: usize| input[a] + 2 * pad[a] + if kernel[a] > 1 { end } else { 0 } - (kernel[a] - 1) * dilation[a] - 1;
    let output = [0, 1, 2].map(|a| room(a) / stride[a] + 1);
    Window { batch: 2, groups, channels, input, kernel, output, stride, dilation, pad }
}

fn all() -> Vec<Window> {
    let one = [1; 3];
    vec![
        window((5, 9), 1, [1, 7, 9], [1, 3, 3], one, one, 0),
        window((3, 33), 1, [1, 9, 11], [1, 3, 3], [1, 2, 2], one, 0),
        window((17, 24), 1, [1, 5, 7], one, one, one, 0),
        window((17, 70), 1, [1, 5, 7], one, [1, 2, 3], one, 0),
        window((8, 16), 1, [1, 11, 8], [1, 4, 2], [1, 3, 1], [1, 2, 3], 1),
        window((6, 32), 2, [1, 6, 6], [1, 3, 3], one, one, 0),
        window((4, 12), 1, [1, 1, 23], [1, 1, 5], [1, 1, 2], [1, 1, 2], 2),
        window((4, 19), 1, [4, 5, 6], [2, 3, 2], [2, 1, 2], one, 0),
        window((24, 24), 24, [1, 9, 13], [1, 3, 3], one, one, 0),
        window((19, 19), 19, [1, 9, 10], [1, 3, 3], [1, 2, 2], one, 0),
        window((19, 19), 19, [1, 9, 10], [1, 5, 4], [1, 3, 2], [1, 1, 2], 1),
        window((16, 16), 16, [1, 1, 20], [1, 1, 3], [1, 1, 3], one, 0),
        window((9, 9), 9, [3, 4, 5], [3, 2, 3], [1, 2, 1], one, 0),
        window((40, 100), 1, [1, 1, 600], one, one, one, 0),
    ]
}

fn filter(width: Width, of: &Window, activation: Activation) -> (Filter, Vec<f32>, Vec<f32>) {
    let shape = [&[of.channels.1, of.channels.0 / of.groups], of.kernel.as_slice()].concat();
    let (w, b) = (numbers(shape.iter().product(), 2), numbers(of.channels.1, 4));
    let filter = Filter::new(width, &shape, &w, Some(&b), of.groups, activation);
    (filter.unwrap_or_else(|| panic!("{of:?}")), w, b)
}

#[test]
fn both_ways_are_those_of_the_plain_loops() {
    for (of, width) in all().iter().flat_map(|of| widths().into_iter().map(move |w| (of, w))) {
        let (plane_x, plane_y) = (of.input.iter().product::<usize>(), of.output.iter().product::<usize>());
        let x = numbers(of.batch * of.channels.0 * plane_x, 1);
        let rooms = Rooms::default();
        for activation in [Activation::None, Activation::Relu, Activation::Clip(-0.5, 0.25)] {
            let (own, w, b) = filter(width, of, activation);
            let mut wanted: Vec<f32> = (0..of.batch).flat_map(|_| b.iter().flat_map(|b| std::iter::repeat_n(*b, plane_y))).collect();
            of.forward(&x, &w, &mut wanted);
            let passes = |v: f32| match activation {
                Activation::None => true,
                Activation::Relu => v > 0.0,
                Activation::Clip(low, high) => v >= low && v <= high,
            };
            // Where a sum is at a bound but for its rounding either slope is right: none is asked for.
            let clear = |v: f32| [0.0, -0.5, 0.25].iter().all(|edge| (v - edge).abs() > 1e-5);
            let mut g = numbers(wanted.len(), 3);
            g.iter_mut().zip(&wanted).for_each(|(g, v)| *g = if clear(*v) { *g } else { 0.0 });
            let slope: Vec<f32> = g.iter().zip(&wanted).map(|(g, v)| if passes(*v) { *g } else { 0.0 }).collect();
            match activation {
                Activation::None => {}
                Activation::Relu => wanted.iter_mut().for_each(|v| *v = v.max(0.0)),
                Activation::Clip(low, high) => wanted.iter_mut().for_each(|v| *v = v.clamp(low, high)),
            }
            let mut back = vec![0.0; x.len()];
            of.backward(&slope, &w, &mut back);
            let (y, marks) = own.forward(of, &turned(&x, of.batch, of.channels.0, plane_x), &rooms, true);
            let y = turned(&y, of.batch, plane_y, of.channels.1);
            let mut g = turned(&g, of.batch, of.channels.1, plane_y);
            let gx = turned(&own.backward(of, &mut g, &marks, &rooms), of.batch, plane_x, of.channels.0);
            let close = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs()));
            assert!(close(&y, &wanted), "{width:?} {activation:?} {of:?}");
            assert!(close(&gx, &back), "{width:?} {activation:?} {of:?}");
        }
    }
}

#[test]
fn neither_threads_nor_neighbours_change_a_bit() {
    let big = [
        Window { batch: 3, ..window((33, 65), 1, [1, 19, 21], [1, 3, 3], [1, 1, 1], [1; 3], 0) },
        Window { batch: 3, ..window((64, 200), 1, [1, 17, 19], [1; 3], [1; 3], [1; 3], 0) },
        Window { batch: 3, ..window((160, 160), 160, [1, 23, 29], [1, 3, 3], [1, 2, 2], [1; 3], 0) },
    ];
    for of in big {
        let rooms = Rooms::default();
        let (own, ..) = filter(Width::widest(), &of, Activation::Relu);
        let x = numbers(of.batch * of.channels.0 * of.input.iter().product::<usize>(), 1);
        let n = of.batch * of.channels.1 * of.output.iter().product::<usize>();
        let pass = |of: &Window, x: &[f32], n: usize| {
            let (y, marks) = own.forward(of, x, &rooms, true);
            let mut g = numbers(n, 3);
            (y, own.backward(of, &mut g, &marks, &rooms))
        };
        let run =
            |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().map(|pool| pool.install(|| pass(&of, &x, n)));
        let (one, two, five) = (run(1).ok(), run(2).ok(), run(5).ok());
        assert!(one.is_some() && one == two && one == five, "{of:?}");
        // The first sample alone.
        let (alone, back) = pass(&Window { batch: 1, ..of.clone() }, &x[..x.len() / 3], n / 3);
        let all = one.unwrap_or_default();
        assert!(all.0.starts_with(&alone) && all.1.starts_with(&back), "{of:?}");
    }
}

#[test]
fn what_the_plain_loops_do_better_is_left_to_them() {
    let ready = |shape: &[usize], groups: usize| {
        let n = shape.iter().product();
        Filter::new(Width::widest(), shape, &vec![1.0; n], None, groups, Activation::None).is_some()
    };
    assert!(ready(&[8, 2, 3, 3], 1) && ready(&[8, 1, 3, 3], 8) && ready(&[16, 4], 1));
    // Few outputs, groups that do not divide, empty and overlong kernels.
    assert!(!ready(&[3, 16, 3, 3], 1) && !ready(&[9, 2, 3, 3], 2) && !ready(&[8, 0, 3, 3], 1) && !ready(&[8, 1, 2000], 1));
    assert!(Filter::new(Width::widest(), &[8, 2], &[1.0; 15], None, 1, Activation::None).is_none());
}
