//! The demo's page: one HTML file and its screenshots.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use geom_lab::Screenshot;

/// One step: what happened, and what each monitor showed then.
pub struct Step {
    title: String,
    text: String,
    at: Duration,
    monitors: Vec<(String, Option<String>)>,
}

/// The page so far.
pub struct Page {
    directory: PathBuf,
    images: usize,
    pub steps: Vec<Step>,
}

impl Step {
    pub fn new(title: &str, text: &str, at: Duration) -> Self {
        Self { title: title.into(), text: text.into(), at, monitors: Vec::new() }
    }

    /// Adds a monitor and its screenshot, which is `None` if the monitor is disconnected.
    pub fn add(&mut self, page: &mut Page, monitor: &str, screenshot: Option<Screenshot>) -> Result<()> {
        let file = match screenshot {
            Some(screenshot) => {
                page.images += 1;
                let file = format!("{:02}-{monitor}.png", page.images);
                screenshot.save(&page.directory.join(&file))?;
                Some(file)
            }
            None => None,
        };
        self.monitors.push((monitor.to_owned(), file));
        Ok(())
    }
}

const STYLE: &str =
    "body{font:16px/1.5 sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1c2530}\
h2{margin:2.5rem 0 .2rem}time{color:#768}.row{display:grid;grid-template-columns:repeat(3,1fr);gap:1rem}\
figure{margin:0}img,.off{width:100%;aspect-ratio:4/3;background:#ddd;border-radius:4px;display:block}\
.off{display:grid;place-items:center;color:#667}figcaption{color:#667;font-size:.9rem}";

impl Page {
    /// Starts a page in a directory, which is emptied first.
    pub fn new(directory: &Path) -> Result<Self> {
        if directory.exists() {
            std::fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        Ok(Self { directory: directory.into(), images: 0, steps: Vec::new() })
    }

    /// Writes index.html.
    pub fn write(&self) -> Result<()> {
        let mut html = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>geom_compositor in the lab</title>\
             <style>{STYLE}</style><h1>geom_compositor in the lab</h1>\
             <p>Real KMS on virtual monitors; each image is what the CRTC scanned out, composed of its planes.</p>"
        );
        for (number, step) in self.steps.iter().enumerate() {
            write!(
                html,
                "<h2>{}. {}</h2><p>{} <time>after {:.1} s</time></p><div class=row>",
                number + 1,
                step.title,
                step.text,
                step.at.as_secs_f64()
            )?;
            for (monitor, file) in &step.monitors {
                let image = match file {
                    Some(file) => format!("<a href=\"{file}\"><img src=\"{file}\" alt=\"{monitor}\"></a>"),
                    None => "<div class=off>disconnected</div>".to_owned(),
                };
                write!(html, "<figure>{image}<figcaption>{monitor}</figcaption></figure>")?;
            }
            html.push_str("</div>");
        }
        std::fs::write(self.directory.join("index.html"), html).context("index.html")
    }
}
