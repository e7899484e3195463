// As much of Android as the template's Kotlin names, so that it compiles without the SDK; Context and its assets really work.
package android.content

import android.content.res.AssetManager
import java.io.File

open class ContentResolver

open class Context(val noBackupFilesDir: File, val assets: AssetManager) {
    val applicationContext: Context get() = this
    val contentResolver: ContentResolver get() = TODO()
}
