"""More of audiomentations' transforms, in the manner of the peers' audio_ops.py (which has the first ones)."""
import common as C

a = C.args()
import audiomentations as M  # noqa: E402

VER, SR = C.version("audiomentations"), 16000
OPS = {
    "add_color_noise": lambda s: M.AddColorNoise(5, 15, p=1),
    "add_gaussian_snr": lambda s: M.AddGaussianSNR(5, 15, p=1),
    "polarity_inversion": lambda s: M.PolarityInversion(p=1),
    "normalize": lambda s: M.Normalize(p=1),
    "clip": lambda s: M.Clip(-0.2, 0.2, p=1),
    "gain_transition": lambda s: M.GainTransition(-24, 6, 0.25, 0.25, duration_unit="fraction", p=1),
    "reverse": lambda s: M.Reverse(p=1),
    "trim": lambda s: M.Trim(30, p=1),
    "padding": lambda s: M.Padding(min_fraction=0.25, max_fraction=0.25, p=1),
    "adjust_duration": lambda s: M.AdjustDuration(duration_samples=s * SR * 3 // 4, p=1),
    "band_pass": lambda s: M.BandPassFilter(min_rolloff=12, max_rolloff=12, p=1),
    "band_stop": lambda s: M.BandStopFilter(min_rolloff=12, max_rolloff=12, p=1),
    "low_shelf": lambda s: M.LowShelfFilter(p=1),
    "high_shelf": lambda s: M.HighShelfFilter(p=1),
    "peaking": lambda s: M.PeakingFilter(p=1),
    "seven_bands": lambda s: M.SevenBandParametricEQ(p=1),
    "air_absorption": lambda s: M.AirAbsorption(p=1),
    "aliasing": lambda s: M.Aliasing(2000, 8000, p=1),
    "bit_crush": lambda s: M.BitCrush(5, 14, p=1),
    "tanh_distortion": lambda s: M.TanhDistortion(p=1),
    "limiter": lambda s: M.Limiter(p=1),
    "repeat_part": lambda s: M.RepeatPart(2, 2, 0.1 * s, 0.1 * s + 0.001, p=1),
    "lossy_coding": lambda s: M.Mp3Compression(8, 64, p=1),
}
for secs in (1, 10):
    clips = C.speech(secs)
    for name, make in OPS.items():
        case = f"audio/{name}/{secs}s"
        if a.only not in case:
            continue

        def setup():
            t = make(secs)
            return lambda i: t(samples=clips[i % len(clips)], sample_rate=SR)
        try:
            C.emit(case, "audiomentations", VER, "clips/s", C.rate_mt(setup, a.seconds, a.threads), threads=a.threads)
        except Exception as e:  # a missing extra
            C.emit(case, "audiomentations", VER, "error", 0, threads=a.threads, error=repr(e)[:300])
