//! The page to try the API with: it needs nothing from elsewhere.

use super::shared;
use crate::harness::get;

#[test]
fn the_page_loads_all_that_it_needs_from_here() {
    let server = shared();
    let mut anyone = server.anyone();
    let door = anyone.ask(&get("/docs")).expect(308);
    assert_eq!(door.must("Location"), "docs/");
    let page = anyone.ask(&get("/docs/")).expect(200);
    assert_eq!(page.must("Content-Type"), "text/html; charset=utf-8");
    let policy = page.must("Content-Security-Policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    let text = page.text();
    let names = text.split('"').filter(|part| {
        let name = part.trim_start_matches("./");
        [".js", ".css", ".png"]
            .iter()
            .any(|end| name.ends_with(end))
    });
    let names: Vec<&str> = names.collect();
    assert!(names.len() >= 6, "{text}");
    for name in names {
        assert!(!name.contains("//"), "{name}");
        let target = get(&format!("/docs/{}", name.trim_start_matches("./")));
        let file = anyone.ask(&target).expect(200);
        let again = target.with("If-None-Match", file.must("ETag"));
        anyone.ask(&again).expect(304);
    }
    let start = anyone.ask(&get("/docs/swagger-initializer.js")).expect(200);
    assert!(start.text().contains("../openapi.json"), "{}", start.text());
    anyone.ask(&get("/docs/none.js")).problem(404);
}
