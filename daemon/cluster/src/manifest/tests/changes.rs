//! Files that change while they are in use.

use super::*;

#[test]
fn a_change_is_told_once_it_has_come_to_rest() {
    let (_folder, paths) = files(&[("cluster.yaml", POD)]);
    let path = paths[0].clone();
    let mut manifests = ManifestFiles::new(paths);
    manifests.load().unwrap();
    assert_eq!(manifests.poll().unwrap(), None);

    fs::write(&path, format!("{POD}---\napiVersion: v1\nkind: Na")).unwrap();
    assert_eq!(manifests.poll().unwrap(), None, "not at rest yet");
    fs::write(&path, format!("{POD}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n"))
        .unwrap();
    assert_eq!(manifests.poll().unwrap(), None, "changed again");
    let snapshot = manifests.poll().unwrap().unwrap();
    assert_eq!(names(&snapshot), ["Pod shop/web-1", "Namespace shop"]);
    assert_eq!(manifests.poll().unwrap(), None);
}

#[test]
fn a_bad_change_is_told_once_and_a_good_one_after_it_is_read() {
    let (folder, paths) = files(&[("cluster.yaml", POD)]);
    let path = paths[0].clone();
    let mut manifests = ManifestFiles::new(paths);
    manifests.load().unwrap();
    let mut change = |to: Option<&str>| {
        match to {
            Some(text) => {
                // As a ConfigMap is changed: another file takes the name.
                fs::write(folder.path().join("new"), text).unwrap();
                fs::rename(folder.path().join("new"), &path).unwrap();
            }
            None => fs::remove_file(&path).unwrap(),
        }
        assert_eq!(manifests.poll().unwrap(), None);
        let told = manifests.poll();
        assert_eq!(manifests.poll().unwrap(), None, "told once");
        told
    };
    assert!(matches!(change(Some("kind: [")), Err(ManifestError::Syntax { .. })));
    assert!(matches!(change(Some("")), Err(ManifestError::Empty { .. })));
    assert!(matches!(change(None), Err(ManifestError::Unreadable { .. })));
    assert_eq!(change(Some(POD)).unwrap().unwrap().objects.len(), 1);
    // Written again without a difference: nothing to tell.
    assert_eq!(change(Some(POD)).unwrap(), None);
    // Back as it was after it could not be read: told, since the error was.
    assert!(matches!(change(None), Err(ManifestError::Unreadable { .. })));
    assert_eq!(change(Some(POD)).unwrap().unwrap().objects.len(), 1);
}
