// The template's Model on this machine: the golden raw inputs through Kotlin, JNI and the native code.
package app.edgeopt.MODEL

import android.content.Context
import android.content.res.AssetManager
import java.io.File

fun main(folders: Array<String>) {
    val (assets, place) = folders.map(::File)
    Model(Context(place, AssetManager(assets))).use { print(it.golden()) }
}
