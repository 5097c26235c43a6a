//! The page to try the API with: it needs nothing from elsewhere.

use super::{loads, opens, shared};
use crate::harness::get;

#[test]
fn the_page_loads_all_that_it_needs_from_here() {
    let server = shared();
    let mut anyone = server.anyone();
    let door = anyone.ask(&get("/docs")).expect(308);
    assert_eq!(door.must("Location"), "docs/");
    let page = opens(&mut anyone, "/docs/");
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
        loads(
            &mut anyone,
            &format!("/docs/{}", name.trim_start_matches("./")),
        );
    }
    let start = anyone.ask(&get("/docs/swagger-initializer.js")).expect(200);
    assert!(start.text().contains("../openapi.json"), "{}", start.text());
    anyone.ask(&get("/docs/none.js")).problem(404);
}
