//! The other program: started, asked with a limit of time, listened to by threads of its own, and ended.

use super::frame::{Answer, Frame};
use crate::error::{Error, ErrorKind, Result};
use serde_json::Value;
use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to end by itself when its input has ended.
const GRACE: Duration = Duration::from_secs(2);
/// How long its last words are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Bytes of stderr that are kept, and lines of them that are told.
const KEPT: usize = 4096;
const LINES: usize = 12;

/// Why nothing more can be read.
enum Broken {
    /// The end of stdout, and how many bytes of a frame stood before it.
    End(u64),
    /// A length above the limit: the eight bytes, and the limit.
    Length([u8; 8], u64),
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Question {
    /// What is asked.
    pub(super) request: &'static str,
    /// The number that its answer repeats.
    pub(super) id: u64,
    /// Most bytes that the answer may have.
    pub(super) limit: u64,
    /// With the request and the id among its words.
    pub(super) frame: Frame,
}

/// A running program.
#[derive(Debug)]
pub(super) struct Process {
    /// The command line as it was written.
    told: String,
    child: Child,
    questions: Option<Sender<Vec<u8>>>,
    answers: Receiver<Result<Vec<u8>, Broken>>,
    /// Most bytes that the next answer may have.
    limit: Arc<AtomicU64>,
    said: Arc<Mutex<Vec<u8>>>,
    listener: thread::JoinHandle<()>,
    timeout: Duration,
    /// What ended it for good.
    failed: Option<String>,
}

/// The error of a program: not the fault of a sample, so that nothing is tried again with the next one.
fn error(told: &str, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Io, message).at("command", told)
}

/// Waits for the end of a program, `limit` at most.
fn ended(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begin.elapsed() < limit => thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

fn write(mut to: ChildStdin, questions: Receiver<Vec<u8>>) {
    // A pipe that broke is told by the end of stdout.
    while let Ok(bytes) = questions.recv() {
        if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn listen(mut from: ChildStdout, answers: SyncSender<Result<Vec<u8>, Broken>>, limit: Arc<AtomicU64>) {
    // The receiver is gone when the model is.
    let told = |what| drop(answers.send(Err(what)));
    loop {
        let mut head = Vec::with_capacity(8);
        let _ = from.by_ref().take(8).read_to_end(&mut head);
        let Ok(length) = <[u8; 8]>::try_from(head.as_slice()) else { return told(Broken::End(head.len() as u64)) };
        let most = limit.load(Ordering::Acquire);
        let bytes = u64::from_le_bytes(length);
        if bytes > most {
            return told(Broken::Length(length, most));
        }
        let mut frame = Vec::with_capacity(bytes.min(1 << 26) as usize);
        let _ = from.by_ref().take(bytes).read_to_end(&mut frame);
        if (frame.len() as u64) < bytes {
            return told(Broken::End(8 + frame.len() as u64));
        }
        if answers.send(Ok(frame)).is_err() {
            return;
        }
    }
}

fn remember(mut from: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut part = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut part) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(part.get(..read).unwrap_or_default());
        let over = said.len().saturating_sub(KEPT);
        said.drain(..over);
    }
}

impl Process {
    /// Starts `run` in the folder `base`. A program with a folder in its name is looked for from `base`, another one on the PATH.
    pub(super) fn start(run: &[String], base: &Path, timeout: Duration) -> Result<Self> {
        let told = run.join(" ");
        let [program, arguments @ ..] = run else { return Err(error(&told, "expected a program, found nothing")) };
        let base = if base.as_os_str().is_empty() { Path::new(".") } else { base };
        let base = std::path::absolute(base).map_err(|e| Error::io(base, e))?;
        let own = Path::new(program);
        let path = if own.components().count() > 1 { base.join(own) } else { own.to_owned() };
        let mut command = Command::new(path);
        command.args(arguments).current_dir(&base).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| {
            let places = "expected a program of the PATH, or a path that starts at the folder of the pipeline file";
            error(&told, format!("it cannot be started: {e}; {places}")).because(e)
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(Error::internal("a program without pipes"));
        };
        let (questions, asked) = mpsc::channel();
        let (answering, answers) = mpsc::sync_channel(1);
        let (limit, said) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (most, words) = (limit.clone(), said.clone());
        thread::spawn(move || write(stdin, asked));
        thread::spawn(move || listen(stdout, answering, most));
        let listener = thread::spawn(move || remember(stderr, words));
        Ok(Self { told, child, questions: Some(questions), answers, limit, said, listener, timeout, failed: None })
    }

    /// The command line as it was written.
    pub(super) fn told(&self) -> &str {
        &self.told
    }

    /// Asks one question and waits for its answer.
    pub(super) fn ask(&mut self, question: Question) -> Result<Answer> {
        let Question { request, id, limit, frame } = question;
        if let Some(message) = &self.failed {
            return Err(error(&self.told, message));
        }
        self.limit.store(limit, Ordering::Release);
        if let Some(questions) = &self.questions {
            // A program that is gone is told by the end of its answers.
            let _ = questions.send(frame.into_bytes());
        }
        let bytes = match self.answers.recv_timeout(self.timeout) {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(Broken::Length(head, most))) => {
                let (length, text) = (u64::from_le_bytes(head), String::from_utf8_lossy(&head).escape_debug().to_string());
                let why = format!(
                    "expected a frame of at most {most} bytes in answer to `{request}`, found the length {length}; as text its bytes are `{text}` (what is printed belongs on stderr)"
                );
                return Err(self.fail(&why));
            }
            Ok(Err(Broken::End(read))) => return Err(self.gone(request, read)),
            Err(RecvTimeoutError::Disconnected) => return Err(self.gone(request, 0)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(self.fail(&format!("no answer to `{request}` within {} s (`timeout_s`)", self.timeout.as_secs_f64())));
            }
        };
        let answer = Answer::parse(&bytes).map_err(|why| self.fail(&format!("answer to `{request}`: {why}")))?;
        if answer.words.get("id").and_then(Value::as_u64) != Some(id) {
            let found = answer.words.get("id").unwrap_or(&Value::Null);
            let why = format!("answer to `{request}`: expected the id {id}, found {found}; every question has one answer");
            return Err(self.fail(&why));
        }
        match answer.words.get("error") {
            Some(refusal) => {
                let text = refusal.as_str().map_or_else(|| refusal.to_string(), str::to_owned);
                Err(Error::model(format!("refused `{request}`: {text}")).at("command", &self.told))
            }
            None => Ok(answer),
        }
    }

    /// The error of a program whose output ended.
    fn gone(&mut self, request: &str, read: u64) -> Error {
        let status = ended(&mut self.child, GRACE);
        let how = status.map_or_else(|| "it closed its stdout".to_owned(), |status| format!("it ended ({status})"));
        let when = if read > 0 { format!("after {read} bytes of an answer to") } else { "before it answered".into() };
        self.fail(&format!("{how} {when} `{request}`"))
    }

    /// Ends the program for good; its last words are told with why.
    pub(super) fn fail(&mut self, why: &str) -> Error {
        self.end(Duration::ZERO);
        let begin = Instant::now();
        while !self.listener.is_finished() && begin.elapsed() < LAST_WORDS {
            thread::sleep(Duration::from_millis(2));
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said).into_owned();
        drop(said);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
        let words = if last.is_empty() { String::new() } else { format!("\nits last lines on stderr:\n  {}", last.join("\n  ")) };
        let message = format!("{why}{words}");
        let told = error(&self.told, message.as_str());
        self.failed = Some(message);
        told
    }

    /// Closes its input, gives it time to end, ends it, and waits for it.
    fn end(&mut self, grace: Duration) {
        self.questions = None;
        if ended(&mut self.child, grace).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(GRACE);
    }
}
